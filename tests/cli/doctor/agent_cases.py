"""The cases of the agent itself and of the lock that its image installs."""

from __future__ import annotations

from functools import partial

from tests.cli.doctor.bench import Bench, Case

RELOCK = (
    "uv pip compile pyproject.toml --generate-hashes --universal --python-version 3.11 --output-file requirements.lock"
)

SERVES_INVOCATIONS = """\
from agent_framework import Agent

from hostedagent import AgentHost
from hostedagent.doors import Invocations
from hostedagent.testing import OfflineChatClient

host = AgentHost(Agent(OfflineChatClient()), doors=[Invocations()])
"""


def yaml(old: str, new: str) -> partial[None]:
    return partial(Bench.edit, name="azure.yaml", old=old, new=new)


def file(name: str, text: str) -> partial[None]:
    return partial(Bench.write, name=name, text=text)


def agent_hangs(bench: Bench) -> None:
    bench.monkeypatch.setattr("hostedagent.cli.doctor.agent.TIMEOUT", 0.5)
    bench.write("main.py", "import threading\nthreading.Event().wait()\n")


AGENT = [
    Case(
        "agent.none",
        "agent",
        partial(Bench.remove, name="main.py"),
        "hostedagent doctor {folder} --agent MODULE_OR_FILE[:NAME]",
    ),
    Case("agent.target", "agent", file("main.py", "nothing = 1\n"), "hostedagent run main.py"),
    Case("agent.raises", "agent", file("main.py", "raise RuntimeError('no key')\n"), "hostedagent run main.py"),
    Case(
        "agent.unset",
        "agent",
        file("main.py", "import os\nos.environ['SHOP_URL']\n"),
        "export SHOP_URL=VALUE",
    ),
    Case("agent.ends", "agent", file("main.py", "import os\nos._exit(3)\n"), "python main.py"),
    Case("agent.hangs", "agent", agent_hangs, "python -X importtime main.py"),
    Case(
        "agent.loopback",
        "agent",
        file("main.py", 'class Agent:\n    def run(self, host): ...\nAgent().run(host="127.0.0.1")\n'),
        "In main.py write: run() without host=",
    ),
    Case(
        "agent.protocol",
        "agent",
        yaml("version: 2.0.0", "version: 2.0.0\n      - protocol: invocations\n        version: 2.0.0"),
        "In main.py write: AgentHost(agent, doors=[Invocations()])",
    ),
    Case(
        "agent.undeclared",
        "agent",
        file("main.py", SERVES_INVOCATIONS),
        "In azure.yaml write below protocols: {protocol: invocations, version: 2.0.0}",
    ),
    Case("lock.missing", "lock", partial(Bench.remove, name="requirements.lock"), RELOCK),
    Case("lock.unhashed", "lock", file("requirements.lock", "hostedagent==99.0\nb==1 --hash=sha256:00\n"), RELOCK),
    Case("lock.stale", "lock", file("requirements.lock", "hostedagent==0.0.1 --hash=sha256:00\n"), RELOCK),
]
