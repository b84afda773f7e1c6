"""Writes the terminal captures of docs/command-line.md: real commands in tmux, at 80 columns.

Run it after the output of a command has changed: `uv run python docs/captures.py`. It needs tmux, starts a server on a
free port, and keeps its files in a temporary folder.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "command-line.md"
SEND = "Send 5 euros to Ada."
DOCTOR_LINES = 20
"""Lines of doctor's report that are shown: its checks, and the beginning of its tables."""
WAIT = 90.0
"""Seconds until a text must be on the screen."""


@dataclass
class Terminal:
    """A window of tmux, 80 columns wide, in a folder with the sample of approvals as `agent.py`."""

    folder: Path
    port: int
    name: str
    tmux: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.tmux = ["tmux", "-L", f"hostedagent-{os.getpid()}-{self.name}"]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        own = f"PATH={path} HOME={self.folder} UV_CACHE_DIR={self.folder}/.cache HISTFILE= PS1='$ '"
        command = f"exec env -u UV_RUN_RECURSION_DEPTH {own} bash --norc"
        self._run("new-session", "-d", "-x", "80", "-y", "120", "-c", str(self.folder), command)
        self.see("$")

    def type(self, line: str, *, until: str) -> None:
        """Type a line, and wait until a text is on the screen after it."""
        before = self.screen().count(until)
        self._run("send-keys", "-l", line)
        self._run("send-keys", "Enter")
        self.see(until, times=before + 1 + line.count(until))

    def see(self, text: str, *, times: int = 1) -> None:
        """Wait until a text is on the screen."""
        deadline = time.monotonic() + WAIT
        while self.screen().count(text) < times:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{text!r} is not on the screen:\n{self.screen()}")
            time.sleep(0.1)

    def screen(self) -> str:
        """What is on the screen."""
        return self._run("capture-pane", "-p", "-J").rstrip()

    def close(self) -> None:
        """Close the window and what runs in it."""
        self._run("kill-server")

    def _run(self, *arguments: str) -> str:
        return subprocess.run([*self.tmux, *arguments], check=True, capture_output=True, text=True).stdout


def capture(folder: Path) -> dict[str, str]:
    """The screens by the name of their command."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"--url http://127.0.0.1:{port}"
    windows = {name: Terminal(folder, port, name) for name in ("run", "invoke", "chat", "init", "doctor")}
    screens: dict[str, str] = {}
    try:
        windows["run"].type(f"hostedagent run --port {port}", until="in another terminal")
        windows["invoke"].type(f"hostedagent invoke '{SEND}' --approve {url}", until="sent")
        windows["chat"].type(f"hostedagent chat {url}", until="you>")
        windows["chat"].type(SEND, until="[y/N/always]")
        windows["chat"].type("y", until="you>")
        windows["chat"].type("/turns", until="* 1")
        windows["init"].type("hostedagent init shop --yes", until="azd up")
        windows["doctor"].type("cd shop; hostedagent doctor", until="Not checked: 2.")
        screens = {name: window.screen() for name, window in windows.items()}
    finally:
        for window in windows.values():
            window.close()
    cleaned = {name: _cleaned(text, folder, port) for name, text in screens.items()}
    cleaned["doctor"] = "\n".join(cleaned["doctor"].splitlines()[:DOCTOR_LINES])
    return {name: text.removesuffix("\n$").rstrip() for name, text in cleaned.items()}


def _cleaned(text: str, folder: Path, port: int) -> str:
    """The same text on every machine: no folder and no port of this run."""
    text = text.replace(f" --port {port}", "").replace(f" --url http://127.0.0.1:{port}", "")
    text = text.replace(str(port), "8088").replace(str(folder), "~").replace(str(ROOT), "~/hostedagent")
    lines = [line.rstrip() for line in text.splitlines()]
    return "\n".join(line[start : start + 80].rstrip() for line in lines for start in range(0, max(len(line), 1), 80))


def main() -> None:
    """Write the captures between their markers."""
    if shutil.which("tmux") is None:
        sys.exit("The captures need tmux: apt-get install tmux")
    with tempfile.TemporaryDirectory(prefix="agent-", ignore_cleanup_errors=True) as made:
        folder = Path(made).resolve()
        shutil.copy(ROOT / "samples/approvals/agent.py", folder / "agent.py")
        screens = capture(folder)
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, screen in screens.items():
        block = f"<!-- capture: {name} -->\n```text\n{screen}\n```\n<!-- /capture -->"
        marker = re.compile(rf"<!-- capture: {name} -->.*?<!-- /capture -->", re.DOTALL)
        text, count = marker.subn(lambda _, block=block: block, text)
        if count != 1:
            sys.exit(f"{DOCUMENT} has no place for the capture of {name}.")
    DOCUMENT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
