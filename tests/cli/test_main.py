"""The command line in this process: everything but a served request."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from hostedagent.cli import COMMANDS, main
from hostedagent.cli.doctor.project import Project
from hostedagent.cli.port import PortError, free_port, wanted_port
from tests.patience import PATIENCE


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hostedagent {version('hostedagent')}\n"


def test_no_command_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Serve an agent or a workflow" in capsys.readouterr().err


def test_a_missing_file_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "missing.py", "--port", "0"]) == 2

    shown = capsys.readouterr()
    assert shown.err == "hostedagent: missing.py does not exist.\n"
    assert shown.out == "Loading missing.py ...\n"


@pytest.mark.parametrize("first", range(3))
def test_run_and_doctor_take_the_same_usual_file(
    first: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    names = ("main.py", "agent.py", "app.py")[first:]
    for name in names:
        (tmp_path / name).write_text("raise RuntimeError('not now')")

    assert main(["run", "--port", "0"]) == 1

    assert capsys.readouterr().err.startswith(f"hostedagent: {names[0]} raised while it was loaded:")
    assert Project.read(tmp_path, {}).target == names[0]


def test_a_folder_with_none_of_the_usual_files_has_nothing_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["run", "--port", "0"]) == 2

    assert capsys.readouterr().err == (
        "hostedagent: There is no main.py, agent.py or app.py in this folder. "
        "Name what to serve: hostedagent run MODULE_OR_FILE[:NAME]\n"
    )


@pytest.mark.parametrize("command", ["run", "doctor"])
def test_the_help_names_the_usual_files(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0

    assert "main.py, agent.py or app.py, the first that exists" in " ".join(capsys.readouterr().out.split())


def test_an_error_of_the_users_module_is_exit_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "failing_agent.py").write_text("raise RuntimeError('no key')")

    assert main(["run", str(tmp_path / "failing_agent.py"), "--port", "0"]) == 1

    shown = capsys.readouterr().err
    assert shown.splitlines()[0].endswith("failing_agent.py raised while it was loaded:")
    assert shown.splitlines()[-1] == "RuntimeError: no key"
    assert str(Path("hostedagent") / "cli") not in shown


def test_a_port_in_use_is_told_before_anything_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert main(["run", "missing.py", "--port", str(port)]) == 1

    expected = f"hostedagent: Port {port} of 127.0.0.1 is in use. Stop what uses it, or choose another with --port.\n"
    assert capsys.readouterr().err == expected


def test_the_port_is_the_option_then_the_variable_then_8088(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORT", raising=False)
    assert wanted_port(None) == 8088
    monkeypatch.setenv("PORT", "9001")
    assert wanted_port(None) == 9001
    assert wanted_port(9002) == 9002


@pytest.mark.parametrize("option", [[], ["--port", "0"]])
@pytest.mark.parametrize("text", ["http", "-1", "0", "65536", "8088.0", "", "9" * 5000])
def test_a_variable_that_is_no_port_is_a_wrong_command_line(
    text: str, option: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORT", text)

    assert main(["run", "missing.py", *option]) == 2

    assert capsys.readouterr().err == f"hostedagent: {text!r} is not a port: PORT must be 1 to 65535.\n"


@pytest.mark.parametrize("command", [["run", "missing.py"], ["emulator"]])
@pytest.mark.parametrize("text", ["http", "-1", "65536", "8088.0", ""])
def test_an_option_that_is_no_port_is_a_wrong_command_line(
    text: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--port", text]) == 2

    message, hint = capsys.readouterr().err.splitlines()
    assert message == f"hostedagent: Invalid value for '--port': {text!r} is not a port: it must be 0 to 65535."
    assert hint == f"Try 'hostedagent {command[0]} --help'."


def test_a_hosted_process_that_has_no_port_ends_with_what_failed_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FOUNDRY_HOSTING_ENVIRONMENT", "test")
    monkeypatch.setenv("PORT", "http")
    missing = tmp_path / "missing.env"

    assert main(["run", "missing.py", "--env-file", str(missing)]) == 2
    assert capsys.readouterr().err == f"hostedagent: The file {missing} of --env-file does not exist.\n"


def test_an_address_of_another_machine_cannot_be_bound() -> None:
    with pytest.raises(PortError, match=r"^Cannot bind 192\.0\.2\.1:0: "):
        free_port("192.0.2.1", 0)


def test_the_help_loads_nothing_slow() -> None:
    code = (
        "import sys; from hostedagent.cli import main; main(['--help'])\n"
        "slow = ('agent_framework', 'azure', 'starlette', 'openai', 'rich', 'hostedagent.cli.doctor')\n"
        "print([name for name in slow if name in sys.modules])"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE)

    assert shown.stdout.splitlines()[-1] == "[]"


def test_a_missing_env_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "missing.env"

    assert main(["run", "missing.py", "--port", "0", "--env-file", str(missing)]) == 2
    assert capsys.readouterr().err == f"hostedagent: The file {missing} of --env-file does not exist.\n"


@pytest.mark.parametrize(("option", "value"), [("--store", "memory"), ("--prefix", "/a"), ("--cors", "*")])
def test_a_module_that_creates_its_own_host_decides_what_the_command_line_would(
    option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own_host.py").write_text(
        "from hostedagent import AgentHost\n"
        "from hostedagent.testing import ScriptedAgent\n"
        "host = AgentHost(ScriptedAgent(['a']))\n"
    )

    assert main(["run", str(tmp_path / "own_host.py"), "--port", "0", option, value]) == 2
    assert f"omit {option}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "suggested"), [(["rnu"], "'run'"), (["doctr"], "'doctor'"), (["run", "--stroe", "memory"], "'--store'")]
)
def test_a_typo_is_answered_with_what_may_have_been_meant(
    typed: list[str], suggested: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed) == 2

    told = capsys.readouterr().err
    assert "Did you mean" in told and suggested in told


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_the_help_fits_a_terminal_of_80_columns(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0

    assert max(len(line) for line in capsys.readouterr().out.splitlines()) < 80


@pytest.mark.parametrize(
    ("variables", "is_coloured"),
    [({}, False), ({"FORCE_COLOR": "1"}, True), ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False)],
)
def test_colours_follow_the_variables_of_the_user(
    variables: dict[str, str], is_coloured: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    main(["--help"])
    main(["run", "--port", "no"])

    shown = capsys.readouterr()
    assert ("\x1b[" in shown.out, "\x1b[" in shown.err) == (is_coloured, is_coloured)


def test_a_broken_pipe_is_not_a_traceback() -> None:
    command = [sys.executable, "-m", "hostedagent", "--help"]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        ended = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, check=False, timeout=PATIENCE)

    assert (ended.stderr, ended.returncode) == ("", 1)
