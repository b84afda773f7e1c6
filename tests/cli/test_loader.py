"""Finding what to serve: modules written to a temporary folder, no server."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from agent_framework import Agent

from hostedagent import AgentHost
from hostedagent.cli.failures import rendered
from hostedagent.cli.loader import Target, TargetError, UserCodeError, as_host, load
from hostedagent.testing import ScriptedAgent

Write = Callable[[str], Target]

IMPORTS = """
from collections.abc import Awaitable
from agent_framework import Agent, Workflow, WorkflowBuilder, Executor, WorkflowContext, handler, tool
from hostedagent import AgentHost, TurnRequest
from hostedagent.testing import OfflineChatClient, ScriptedAgent

def one(name="one"):
    return Agent(OfflineChatClient(), name=name)

class Echo(Executor):
    @handler
    async def echo(self, text: str, context: WorkflowContext[str, str]) -> None:
        await context.yield_output(text)
"""

WORKFLOW = "WorkflowBuilder(start_executor=Echo(id='echo'), name='echo').build()"


@pytest.fixture(autouse=True)
def nothing_imported_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if (getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(code: str) -> Target:
        (tmp_path / "served.py").write_text(IMPORTS + code)
        return Target.parse("served.py")

    return write


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("agent.py", Target("agent.py", None, is_file=True)),
        ("samples/a/agent.py:writer", Target("samples/a/agent.py", "writer", is_file=True)),
        ("package.module", Target("package.module", None, is_file=False)),
        ("package.module:build", Target("package.module", "build", is_file=False)),
        (r"C:\agents\agent.py", Target(r"C:\agents\agent.py", None, is_file=True)),
        (r"C:\agents\agent.py:build", Target(r"C:\agents\agent.py", "build", is_file=True)),
    ],
)
def test_a_target_is_a_file_or_a_module_and_may_have_a_name(text: str, expected: Target) -> None:
    assert Target.parse(text) == expected
    assert Target.parse(text).text == text


@pytest.mark.parametrize("text", ["", ":agent", "two words", "a..b", "agent:"])
def test_a_target_that_is_neither_is_refused(text: str) -> None:
    with pytest.raises(TargetError, match="neither a path to a Python file nor a module"):
        Target.parse(text)


@pytest.mark.parametrize(
    "code",
    [
        "served = one()",
        "def create_agent():\n    return one()\nserved = create_agent\n_spare = one()",
        "async def served() -> Agent:\n    return one()",
        "def served(request: TurnRequest) -> 'Agent[None]':\n    return one()",
        "def served() -> Awaitable[Agent]: ...",
        f"def served(turn) -> Workflow:\n    return {WORKFLOW}",
        f"def build_review_workflow():\n    return {WORKFLOW}\nserved = build_review_workflow",
        f"def served() -> Workflow:\n    return {WORKFLOW}\nworkflow = served()",
        "writer = one()\nserved = AgentHost(writer)",
        "served = again = one()",
        "served = ScriptedAgent()",
    ],
    ids=lambda code: str(code).replace("\n", "; ")[:60],
)
def test_the_one_thing_a_module_has_to_serve_is_found(write: Write, code: str) -> None:
    target = write(code)

    found = load(target)

    assert found is vars(sys.modules["served"])["served"]
    assert isinstance(as_host(found, target), AgentHost)


@pytest.mark.parametrize(
    "code",
    [
        "_hidden = one()",
        "def helper(a, b) -> Agent: ...",
        "def create_agent(client): ...",
        "def create_agent() -> str: ...",
        "def all_agents() -> list[Agent]: ...",
        "@tool\ndef create_agent() -> str:\n    'Not a factory.'\n    return ''",
        "def answer(): ...",
    ],
    ids=lambda code: str(code).replace("\n", "; ")[:60],
)
def test_what_does_not_say_that_it_makes_an_agent_is_not_served(write: Write, code: str) -> None:
    with pytest.raises(TargetError, match=r"served\.py has nothing to serve"):
        load(write(code))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def create_agent(a, b): ...", "create_agent(a, b) takes too many arguments."),
        ("def helper(request, *, client) -> Agent: ...", "helper(request, client) takes too many arguments."),
        ("def create_agent(client): ...", "create_agent(client) takes an argument that the host does not have."),
    ],
)
def test_a_factory_that_takes_what_the_host_does_not_have_is_named(write: Write, code: str, told: str) -> None:
    with pytest.raises(TargetError) as refused:
        load(write(f"{code}\ndef other(a, b): ...\n"))

    assert str(refused.value) == f"served.py has nothing to serve: {told} A factory takes none, or one TurnRequest."


def test_several_are_listed_and_one_must_be_named(write: Write) -> None:
    target = write("writer = one()\ndef create_agent():\n    return one()\n")

    with pytest.raises(TargetError) as refused:
        load(target)

    assert str(refused.value) == (
        "served.py has more than one to serve: writer (agent), create_agent (factory). Name one: served.py:writer"
    )


@pytest.mark.parametrize(
    "code",
    [
        "writer = one('writer')\nagent = one()",
        "writer = one('writer')\napp = AgentHost(one())\nspare = AgentHost(one())",
        "host = one()\napp = one()",
        "def create_agent():\n    return one()\nhost = one()",
    ],
)
def test_of_several_the_one_with_a_usual_name_is_served(write: Write, code: str) -> None:
    target = write(code)

    found = load(target)

    module = vars(sys.modules["served"])
    assert found is next(module[name] for name in ("agent", "host", "app") if name in module)


def test_a_suggestion_names_what_can_be_served(write: Write) -> None:
    with pytest.raises(TargetError, match=r"Name one: served\.py:helper$"):
        load(write(f"workflow = {WORKFLOW}\nhelper = one()"))


def test_a_host_that_the_module_runs_itself_is_taken_over(write: Write) -> None:
    target = write("AgentHost(one('first'), prefix='/first').run(host='192.0.2.1')\nother = one()\n")

    host = as_host(load(target), target)

    assert host.prefix == "/first"
    assert load(Target.parse("served.py:other")) is vars(sys.modules["served_file"])["other"]


def test_an_agent_beside_a_workflow_may_be_its_helper(write: Write) -> None:
    with pytest.raises(TargetError, match=r"more than one to serve: helper \(agent\), workflow \(workflow\)\."):
        load(write(f"helper = one()\nworkflow = {WORKFLOW}"))


def test_a_named_one_is_served_whatever_else_there_is(write: Write) -> None:
    write("class team:\n    writer = one('writer')\nreviewer = one()\n")

    found = load(Target.parse("served.py:team.writer"))

    assert isinstance(found, Agent) and found.name == "writer"


def test_a_name_that_is_not_there_is_told_with_those_that_are(write: Write) -> None:
    write("writer = one()")

    with pytest.raises(TargetError, match=r"^served\.py has no 'agent'\. What it has to serve: writer\.$"):
        load(Target.parse("served.py:agent"))


def test_a_workflow_alone_is_refused_with_the_reason(write: Write) -> None:
    target = write(f"workflow = {WORKFLOW}")

    with pytest.raises(TargetError, match="one instance can't serve several turns") as refused:
        as_host(load(target), target)

    assert "Pass a function that builds a fresh one" in str(refused.value)


def test_what_can_not_be_served_is_refused_by_its_type(write: Write) -> None:
    write("limit = 3")
    target = Target.parse("served.py:limit")

    with pytest.raises(TargetError, match=r"^served\.py cannot be served: .*'int'"):
        as_host(load(target), target)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("missing.py", "missing.py does not exist."),
        ("no_such_module", "There is no module 'no_such_module' in this directory or installed."),
        ("json.no_such_part", "There is no module 'json.no_such_part' in this directory or installed."),
        ("no_such_package.part", "There is no module 'no_such_package' in this directory or installed."),
        ("./", "./ is a folder, not a Python file."),
    ],
)
def test_a_missing_file_or_module_is_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(TargetError) as refused:
        load(Target.parse(text))

    assert str(refused.value) == message


def test_a_file_imports_its_neighbours_and_the_current_directory(tmp_path: Path) -> None:
    folder = tmp_path / "agents"
    folder.mkdir()
    (folder / "neighbour_of_agent.py").write_text("NAME = 'near'")
    (tmp_path / "settings_of_all.py").write_text("SUFFIX = 'far'")
    (folder / "near_and_far.py").write_text(
        "from neighbour_of_agent import NAME\nfrom settings_of_all import SUFFIX\n"
        "from hostedagent.testing import ScriptedAgent\nagent = ScriptedAgent(name=NAME + SUFFIX)"
    )

    found = load(Target.parse("agents/near_and_far.py"))

    assert isinstance(found, ScriptedAgent) and found.name == "nearfar"


def test_a_file_named_like_an_imported_module_does_not_replace_it(tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("from hostedagent.testing import ScriptedAgent\nagent = ScriptedAgent(name='j')")
    loaded = sys.modules["json"]

    found = load(Target.parse("json.py"))

    assert isinstance(found, ScriptedAgent) and sys.modules["json"] is loaded


@pytest.mark.parametrize("text", ["served.py", "served"])
@pytest.mark.parametrize(
    ("code", "last", "line"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero", "1 / 0"),
        ("import no_such_neighbour", "ModuleNotFoundError: No module named 'no_such_neighbour'", "import no_such_"),
        ("def broken(:", "SyntaxError: invalid syntax", "def broken(:"),
    ],
)
def test_an_error_of_the_users_module_is_shown_from_their_file_on(
    write: Write, text: str, code: str, last: str, line: str
) -> None:
    write(code)

    with pytest.raises(UserCodeError) as raised:
        load(Target.parse(text))

    shown = rendered(raised.value.error)
    assert shown.rstrip().splitlines()[-1] == last
    assert line in shown and "served.py" in shown
    assert "loader.py" not in shown and "importlib" not in shown


def test_a_file_of_another_kind_is_no_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "README.md").write_text("# An agent")

    with pytest.raises(TargetError, match=r"README\.md is not a Python file\."):
        load(Target.parse("README.md"))
