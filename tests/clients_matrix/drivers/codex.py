"""The Codex CLI: `codex exec` with the host as its model provider, and what its JSON events say."""

import base64
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from driver import PIXEL, SCHEMA, TURNS, AbsentError, Case, absent, main, without_link

BINARY = Path(__file__).parents[1] / "node_modules" / ".bin" / "codex"
NO_TOOLS = "it sends only its built-in tools"


def execute(case: Case, folder: str, prompt: str, *arguments: str, resume: str | None = None) -> list[Any]:
    if not case.streamed:
        raise AbsentError("it always streams")
    settings = {
        "model": "any",
        "model_provider": "host",
        "model_providers.host.name": "host",
        "model_providers.host.base_url": case.url,
        "model_providers.host.wire_api": "responses",
        "model_providers.host.request_max_retries": 0,
        "model_providers.host.stream_max_retries": 0,
    }
    options = [part for key, value in settings.items() for part in ("-c", f"{key}={json.dumps(value)}")]
    command = [str(BINARY), "exec", *options, "--json", "--skip-git-repo-check", "-s", "read-only", *arguments]
    command += ["resume", resume, prompt] if resume else [prompt]
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
    )
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if not events:
        raise RuntimeError(done.stderr[-600:])
    return events


def said(events: list[Any]) -> str:
    failed = [event for event in events if event["type"] in ("error", "turn.failed")]
    if failed:
        raise RuntimeError(str(failed))
    return [event["item"]["text"] for event in events if event.get("item", {}).get("type") == "agent_message"][-1]


def ask(case: Case, prompt: str, *arguments: str) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return said(execute(case, folder, prompt, *arguments))


def structured(case: Case) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        schema = Path(folder, "schema.json")
        schema.write_text(json.dumps(SCHEMA))
        return json.loads(said(execute(case, folder, "How is the weather in Paris?", "--output-schema", str(schema))))


def history(case: Case) -> Any:
    texts, thread = [], None
    with tempfile.TemporaryDirectory() as folder:
        for question in TURNS:
            events = execute(case, folder, question, resume=thread)
            thread = thread or next(event["thread_id"] for event in events if event["type"] == "thread.started")
            texts.append(said(events))
    return texts


def consent_item(case: Case) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        events = execute(case, folder, TURNS[0])
    assert any(event["type"] == "turn.failed" for event in events), events
    raise without_link(events, "it ends with an error for an `incomplete` response")


def reasoning(case: Case) -> Any:
    texts, thread = [], None
    with tempfile.TemporaryDirectory() as folder:
        for question in ("How is the weather in Paris?", "Who am I?"):
            events = execute(case, folder, question, resume=thread)
            thread = thread or next(event["thread_id"] for event in events if event["type"] == "thread.started")
            texts.append(said(events))
    return texts


def image(case: Case) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        pixel = Path(folder, "pixel.png")
        pixel.write_bytes(base64.b64decode(PIXEL))
        return said(execute(case, folder, "What is this?", "-i", str(pixel), "--"))


def failure(case: Case) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        events = execute(case, folder, "Hi.")
    return str([event for event in events if event["type"] in ("error", "turn.failed")])


main(
    {
        "text": lambda case: ask(case, "My name is Ada."),
        "instructions": absent("it always sends its own"),
        "own_tools": lambda case: ask(case, "How is the weather in Paris?"),
        "client_tools": absent(NO_TOOLS),
        "both_tools": absent(NO_TOOLS),
        "structured": structured,
        "chain": absent("it always sends the history"),
        "consent_item": consent_item,
        "history": history,
        "dumped": absent("it always saves the history in a file"),
        "approve": absent("it has no approvals of a provider's tools"),
        "reject": absent("it has no approvals of a provider's tools"),
        "standing": absent("it has no approvals of a provider's tools"),
        "question": absent(NO_TOOLS),
        "reasoning": reasoning,
        "image": image,
        "text_file": absent("it reads files with its own tools"),
        "failure": failure,
        "refusal": absent("it has no setting whose value could be wrong"),
    }
)
