"""Every command that a document shows: run by `test_commands.py` or by another test, or listed with why not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from hostedagent.templates import DEPLOYMENTS, FEATURES, LOCK_COMMAND, PROTOCOLS, PROVIDERS, Choices, Feature, render
from tests.samples.server import ROOT

_FENCE: Final = re.compile(r"^( *)```(?:bash|sh|shell|console|powershell)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_COMMENT: Final = re.compile(r"\s+# .*$", re.MULTILINE)

WITHOUT_WORKFLOW: Final[frozenset[Feature]] = frozenset(FEATURES) - {"workflow"}


@dataclass(frozen=True, slots=True)
class Here:
    """`test_commands.py` runs it, in this setting."""

    setting: str


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """Another test, fixture or script runs it.

    Args:
        file: Its file.
        name: The function, or what the file says.
    """

    file: str
    name: str


@dataclass(frozen=True, slots=True)
class NotRun:
    """Nobody runs it."""

    reason: str


Verdict: TypeAlias = Here | Elsewhere | NotRun

_CI: Final = ".ci/run"
_WHEEL: Final = "tests/cli/test_init_wheel.py"
_SAMPLES: Final = "tests/samples/conftest.py"
_AZURE: Final = NotRun("needs an Azure subscription")
_CONTAINERS: Final = NotRun("needs Docker; .ci/container builds and runs the same image within the same limits")
_TELEGRAM: Final = NotRun("needs a bot of Telegram; tests/samples/test_chat_bot.py runs the sample against a fake")
_INSTALL: Final = Elsewhere(
    "tests/deploy/test_install.py", "test_a_checkout_and_a_wheel_install_as_documented_with_their_extras"
)
_ENVIRONMENT: Final = NotRun("installs the environment in which the tests run")
_MINUTES: Final = NotRun("measures for minutes; tests/benchmarks runs short cases by the same script")

VERDICTS: Final[Mapping[str, Verdict]] = {
    # The repository.
    "pip install uv": Elsewhere(_CI, "pip install --quiet uv"),
    "uv sync": Elsewhere(_CI, "sync --quiet"),
    "uv run pytest": Elsewhere(_CI, "run pytest"),
    "uv run pytest tests/browser/test_walk.py -k first_paint -rP": Elsewhere(
        "tests/browser/test_walk.py", "test_the_page_is_small_and_says_how_long_its_first_paint_takes"
    ),
    "uv run ruff check": Elsewhere(_CI, "ruff check"),
    "uv run ruff format": Elsewhere(_CI, "ruff format --check"),
    "uv run pyright": Elsewhere(_CI, "pyright"),
    "uv run lint-imports": Elsewhere(_CI, "lint-imports"),
    "uv run deptry src samples": Elsewhere(_CI, "deptry src samples"),
    ".ci/run": NotRun("is what CI runs"),
    "uv run hostedagent init ../my-agent --yes": Elsewhere(_WHEEL, "project"),
    # Samples.
    "uv run hostedagent run samples/hello/agent.py": Elsewhere(_SAMPLES, "hello"),
    "uv run hostedagent run samples/approvals/agent.py": Elsewhere(_SAMPLES, "approvals"),
    "uv run hostedagent run samples/background/agent.py": Elsewhere(_SAMPLES, "background"),
    "uv run hostedagent run samples/mcp/agent.py": Elsewhere(_SAMPLES, "mcp"),
    "uv run hostedagent run samples/workflow/agent.py": Elsewhere(_SAMPLES, "workflow"),
    "uv run hostedagent run samples/tools/agent.py": Here("checkout"),
    "hostedagent run samples/tools/agent.py": Here("checkout"),
    "uv run --with fastapi python samples/fastapi/app.py": Elsewhere(_SAMPLES, "fastapi"),
    "npm install --prefix samples/ag_ui --no-save --no-package-lock @ag-ui/client": NotRun(
        "npm; tests/browser/test_ag_ui.py takes the same package from HOSTEDAGENT_AG_UI"
    ),
    "uv run python samples/ag_ui/agent.py": Elsewhere("tests/browser/test_ag_ui.py", "samples/ag_ui/agent.py"),
    "export CHAT_TOKEN=<token of the bot> CHAT_SECRET=<any secret>": _TELEGRAM,
    "uv run python samples/chat_bot/bot.py": _TELEGRAM,
    'curl "https://api.telegram.org/bot$CHAT_TOKEN/setWebhook" -d "url=https://<your address>/chat-bot" '
    '-d "secret_token=$CHAT_SECRET"': _TELEGRAM,
    "export FOUNDRY_PROJECT_ENDPOINT=https://<account>.services.ai.azure.com/api/projects/<project>": _AZURE,
    "export AZURE_AI_MODEL_DEPLOYMENT_NAME=gpt-5.4-mini": _AZURE,
    "uv run --extra foundry hostedagent run samples/foundry/agent.py": Elsewhere(
        "tests/samples/test_foundry.py", "test_a_turn_calls_the_model_of_the_project_and_the_tool"
    ),
    "docker compose --file samples/self_hosted/compose.yaml up --build": Elsewhere(
        "tests/samples/test_self_hosted.py", "test_two_replicas_of_compose_continue_each_other"
    ),
    """curl http://localhost:8088/responses --json '{"input": "My name is Ada."}'""": Elsewhere(
        "tests/samples/test_hello.py", "test_curl_gets_a_response"
    ),
    # The command line.
    'hostedagent invoke "What is the weather in Paris?" --stream': Here("hello"),
    'hostedagent invoke "And in Oslo?" --continue': Here("hello"),
    'hostedagent invoke "What is on it?" --file photo.png': Here("hello"),
    "hostedagent chat": Here("hello"),
    "hostedagent chat --url http://127.0.0.1:8088 --continue": Here("hello"),
    "hostedagent doctor": Elsewhere(_WHEEL, "test_doctor_finds_nothing_in_the_project"),
    "hostedagent doctor ../my-agent --agent agents.py:writer --online": _AZURE,
    "hostedagent emulator": Elsewhere(
        "tests/emulator/test_cli.py", "test_the_command_prints_what_to_export_and_serves_until_it_is_interrupted"
    ),
    'hostedagent invoke "My name is Ada." -H "x-agent-user-id: ada" -H "x-agent-foundry-call-id: ada.1"': (
        Here("emulator")
    ),
    'hostedagent invoke "What is my name?" --continue -H "x-agent-user-id: ada" -H "x-agent-foundry-call-id: ada.2"': (
        Here("emulator")
    ),
    "hostedagent run my_agent.py": Here("getting-started"),
    "python3 -m venv .venv": _INSTALL,
    ". .venv/bin/activate": _INSTALL,
    "pip install .": _INSTALL,
    "pip wheel . --no-deps --wheel-dir dist": _INSTALL,
    "pip install dist/hostedagent-*.whl": _INSTALL,
    "pip install '.[webhooks]'": _INSTALL,
    'pip install "$(echo dist/hostedagent-*.whl)[webhooks]"': _INSTALL,
    "pip install --find-links wheels -e . --group dev": _ENVIRONMENT,
    "pip install -e . --group dev": _ENVIRONMENT,
    "hostedagent run --reload": Here("project-pip"),
    "pytest": Here("project-pip"),
    "pip install pytest pytest-asyncio": NotRun("is what `uv sync` has installed"),
    "pytest test_my_agent.py": Here("getting-started"),
    # A project of `hostedagent init`.
    "uv run hostedagent run --reload": Here("project"),
    'uv run hostedagent invoke "Where is order A1?"': Here("project"),
    'uv run hostedagent invoke "Cancel order B2."': Here("project"),
    'uv run hostedagent invoke "Call opening_hours."': Here("project"),
    'uv run hostedagent invoke "My name is Ada."': Here("project"),
    'uv run hostedagent invoke "Hello"': Here("project"),
    "uv run hostedagent doctor": Elsewhere(_WHEEL, "test_doctor_finds_nothing_in_the_project"),
    " ".join(LOCK_COMMAND): Elsewhere(
        "tests/cli/test_init.py", "test_the_lock_is_made_in_the_project_by_the_command_that_is_told"
    ),
    # Operations.
    "azd ext install microsoft.foundry": _AZURE,
    "azd auth login": _AZURE,
    "azd up": _AZURE,
    "azd ai agent monitor --follow": _AZURE,
    "azd ai agent monitor --type system": _AZURE,
    "azd ai agent show": _AZURE,
    "azd ai agent sessions list": _AZURE,
    'azd ai agent invoke "What is the weather in Oslo?"': _AZURE,
    'azd ai agent invoke "Where is order A1?"': _AZURE,
    'azd ai agent invoke "My name is Ada."': _AZURE,
    """azd ai agent invoke --protocol invocations '{"input": "My name is Ada."}'""": _AZURE,
    'eval "$(azd env get-values)"': _AZURE,
    "bun run test:compliance --base-url http://127.0.0.1:8088 --api-key any --model any": NotRun(
        "is the test suite of Open Responses, which needs bun and its repository"
    ),
    # Measurements.
    "uv run python benchmarks/run.py --list": Here("checkout"),
    "uv run python benchmarks/run.py paced short-1 --runs 7": _MINUTES,
    "uv run python benchmarks/run.py --systems ours,sdk --profile --lines 25 stream-1000": _MINUTES,
    "uv run python benchmarks/run.py --runs 3 --systems own,agent,floor,helpers,peer": _MINUTES,
    "uv run python benchmarks/run.py --into docs/performance.md": _MINUTES,
}
"""Command to who runs it."""

LONG: Final[Mapping[str, Verdict]] = {
    "uv pip compile ": Elsewhere("tests/deploy/test_dockerfile.py", "test_the_locks_fit_the_bounds_of_this_project"),
    "docker build ": _CONTAINERS,
    "docker run ": _CONTAINERS,
    'hostedagent invoke "Hello" --agent my-agent --project https://ACCOUNT.': Elsewhere(
        "tests/cli/test_invoke.py", "test_a_deployed_agent_is_asked_with_a_token_and_in_the_same_sandbox"
    ),
    "curl http://127.0.0.1:8088/invocations ": Here("project"),
    "az ": _AZURE,
    "token=$(az ": _AZURE,
    "curl -sS https://<app>/": _AZURE,
}
"""The beginnings of longer commands."""


def verdict_of(command: str) -> Verdict | None:
    """Who runs a command; `None` for one that is in neither table."""
    longer = (found for start, found in LONG.items() if command.startswith(start))
    return VERDICTS.get(command) or next(longer, None)


def commands_of(text: str) -> list[str]:
    """The commands of a document, each in one line."""
    blocks = [match[2] for match in _FENCE.finditer(text)]
    lines = _COMMENT.sub("", "\n".join(blocks).replace("\\\n", " ")).splitlines()
    return [" ".join(line.split()) for line in lines if line.strip()]


def documented() -> dict[str, str]:
    """Every command and a document that shows it. Pages of clients are not looked at: the client matrix runs those."""
    found: dict[str, str] = {}
    for pattern in ("*.md", "docs/**/*.md", "samples/**/*.md", "infra/*.md", "benchmarks/*.md"):
        for path in sorted(ROOT.glob(pattern)):
            if path.parent != ROOT / "docs/clients":
                name = path.relative_to(ROOT).as_posix()
                found |= dict.fromkeys(commands_of(path.read_text(encoding="utf-8")), name)
    for provider in PROVIDERS:
        for deployment in DEPLOYMENTS:
            for features in (frozenset[Feature](), WITHOUT_WORKFLOW, frozenset(FEATURES)):
                chosen = Choices(
                    brings_wheel=features == WITHOUT_WORKFLOW,
                    name="shop",
                    provider=provider,
                    deployment=deployment,
                    features=features,
                    protocols=frozenset(PROTOCOLS),
                )
                files = render(chosen)
                for name in ("README.md", "AGENTS.md"):
                    found |= dict.fromkeys(commands_of(files[name]), f"{name} of a project")
    return found
