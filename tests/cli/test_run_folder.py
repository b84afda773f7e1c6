"""`hostedagent run FOLDER`: every agent of a folder in one process."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from tests.cli.test_run import running
from tests.patience import PATIENCE

AGENT = """
from agent_framework import Agent
from hostedagent.testing import OfflineChatClient
from words import WORD

agent = Agent(OfflineChatClient(script=[WORD] * 9), name="named")
"""


def _add(folder: Path, name: str) -> None:
    (folder / name).mkdir()
    (folder / name / "agent.py").write_text(AGENT)
    (folder / name / "words.py").write_text(f"WORD = 'I am {name}.'")


def test_each_agent_is_served_under_its_folders_name_with_its_own_modules(tmp_path: Path) -> None:
    _add(tmp_path, "writer")
    _add(tmp_path, "critic")
    (tmp_path / "extra.py").write_text(AGENT.replace("from words import WORD", "WORD = 'I am extra.'"))
    (tmp_path / "helper.py").write_text("nothing = 1")
    (tmp_path / "broken.py").write_text("raise ValueError('no key')")
    _add(tmp_path, "a writer")
    (tmp_path / "critic.py").write_text((tmp_path / "extra.py").read_text())

    with running(tmp_path, target=".") as server:
        server.until("Skipped: a writer/agent.py: 'a writer' is not a name", last="Rename it.")
        server.until("Skipped: broken.py raised", last="ValueError: no key")
        server.until("Skipped: critic.py: Another agent has the name", last="rename one of them.")
        server.until("Ready at", last="Ctrl+C")
        answers = {name: server.ask(model=name) for name in ("critic", "extra", "writer")}
        assert server.stop() == 0

    said = {name: answer["output"][0]["content"][0]["text"] for name, answer in answers.items()}
    assert said == {name: f"I am {name}." for name in answers}


def test_the_page_names_the_agents_to_choose_from_and_the_store(tmp_path: Path) -> None:
    _add(tmp_path, "writer")
    _add(tmp_path, "critic")

    with running(tmp_path, target=".") as server:
        server.until("Ready at", last="Ctrl+C")
        for path in ("", "/agents/writer"):
            url = f"http://127.0.0.1:{server.port}{path}/playground/settings.json"
            with urllib.request.urlopen(url, timeout=PATIENCE) as reply:
                shown = json.load(reply)
            assert shown["agents"] == [{"name": name, "root": f"/agents/{name}"} for name in ("critic", "writer")]
            assert (shown["store"], shown["root"]) == ("memory", path or "/agents/critic")


@pytest.mark.parametrize("options", [("--prefix", "/x"), ("--workers", "2", "--store", "postgres")])
def test_what_is_for_one_agent_is_refused_for_a_folder(tmp_path: Path, options: tuple[str, ...]) -> None:
    _add(tmp_path, "writer")

    with running(tmp_path, *options, target=".") as server:
        assert server.process.wait(60) == 2
