"""What `.ci/run` repeats exists, and what it leaves out is there to be left out."""

import pytest

from tests.repeated import REPEATED, TESTS, main


@pytest.mark.parametrize("what", REPEATED)
def test_what_is_left_out_is_a_file_of_the_folders(what: str) -> None:
    repeated = REPEATED[what]
    names = [name for names in repeated.without.values() for name in names]

    assert len(names) == len(set(names)), "a file is left out twice"
    assert [name for name in names if not (TESTS / f"{name}.py").is_file()] == []
    assert {name.partition("/")[0] for name in names} <= set(repeated.folders)


@pytest.mark.parametrize("what", REPEATED)
def test_every_folder_is_repeated(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([what])
    chosen = capsys.readouterr().out.split()
    main(["--whole", what])
    whole = capsys.readouterr().out.split()

    assert [folder for folder in whole if not any(path.startswith(f"{folder}/") for path in chosen)] == []


def test_a_file_that_is_named_nowhere_is_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    main(["stores"])

    assert "tests/host/test_conversations.py" in capsys.readouterr().out.split()
