"""The images, built from the unmodified Dockerfiles by `.ci/container`, which then runs these tests.

`root` is the image of the Dockerfile at the root, `project` that of a new project, `plain` is `root` without bytecode.
Before they were built, a `planted-secret` was laid beside everything that they copy.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.container import LIMITS, UID, Container, in_image, inspect, podman, running

ROOT = Path(__file__).parents[2]
IMAGES = os.environ.get("HOSTEDAGENT_IMAGES", "")

OFFLINE = f"--volume={ROOT / 'samples/hello/agent.py'}:/offline/agent.py:ro"
"""The root image's own agent needs Foundry; the same image serves another file when it is told to."""

HOSTED = (
    "--env=AZURE_AI_MODEL_DEPLOYMENT_NAME=gpt-5.4-mini",
    "--env=FOUNDRY_AGENT_NAME=agent",
    "--env=FOUNDRY_AGENT_SESSION_GUID=" + "5e" * 16,
    "--env=FOUNDRY_AGENT_SESSION_ID=session",
    "--env=FOUNDRY_AGENT_VERSION=1",
    "--env=FOUNDRY_HOSTING_ENVIRONMENT=hosted",
    "--env=FOUNDRY_PROJECT_ENDPOINT=https://account.services.ai.azure.com/api/projects/agents",
)
"""What the platform sets, and `azure.yaml`."""

WHEEL = f"wheels/hostedagent-{version('hostedagent')}-py3-none-any.whl"
ROUNDS = 2

FILES = """
import json, pathlib
folders = ["/app", "/home", "/build", "/opt"]
paths = [path for folder in folders for path in pathlib.Path(folder).rglob("*") if path.is_file()]
print(json.dumps({
    "app": sorted(str(path) for path in paths if path.parts[1] == "app" and path.suffix != ".pyc"),
    "build": [str(path) for path in paths if path.parts[1] == "build"],
    "tests": [str(path) for path in paths if path.name.startswith("test_") and "hostedagent" in path.parts
              and "templates" not in path.parts],
    "planted": [str(path) for path in paths if path.stat().st_size < 100 and b"planted-secret" in path.read_bytes()],
    "writable": [str(path) for path in paths if path.parts[1] in ("app", "opt") and path.stat().st_mode & 0o022],
}))
"""

STALE = """
import json, pathlib, sys
import hostedagent.cli.run, hostedagent.host, hostedagent.testing
UNCHECKED = b"\\x01\\x00\\x00\\x00"
specs = {name: module.__spec__ for name, module in sys.modules.items() if getattr(module, "__spec__", None)}
cached = {name: pathlib.Path(spec.cached) for name, spec in specs.items() if spec.cached}
print(json.dumps({
    "loaded": len(cached),
    "stale": sorted(n for n, path in cached.items() if not path.exists() or path.read_bytes()[4:8] != UNCHECKED),
}))
"""

pytestmark = [
    pytest.mark.skipif(
        not IMAGES,
        reason="needs images: .ci/container builds them and runs these tests; it needs buildah, podman and mmdebstrap",
    ),
    pytest.mark.timeout(240),
]
both = pytest.mark.parametrize("name", ["root", "project"])


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip where containers cannot be run with the limits: a machine may forbid that to root as well."""
    try:
        podman("run", "--rm", *LIMITS, "--entrypoint=true", f"{IMAGES}:plain")
    except AssertionError as error:
        pytest.skip(f"containers with limits cannot be run here: {error}")


@both
def test_the_image_says_what_the_platform_needs_to_know(name: str) -> None:
    image = inspect(f"{IMAGES}:{name}")
    config = image["Config"]
    environment = dict(pair.split("=", 1) for pair in config["Env"])
    assert environment.pop("PATH").startswith("/opt/venv/bin:")
    assert (image["Os"], image["Architecture"]) == ("linux", "amd64")
    assert config["User"] == str(UID)
    assert list(config["ExposedPorts"]) == ["8088/tcp"]
    assert image["Healthcheck"]["Test"][0] == "CMD"
    assert environment == {
        "HOME": "/home/session",
        "PORT": "8088",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
    }


@pytest.mark.usefixtures("engine")
@both
def test_nothing_but_the_agent_and_what_it_imports_is_in_the_image(name: str) -> None:
    files = in_image(f"{IMAGES}:{name}", FILES)
    expected = {
        "root": ["samples/foundry/agent.py", "samples/self_hosted/agent.py"],
        "project": ["main.py", "requirements.lock", WHEEL],
    }[name]
    assert files.pop("app") == [f"/app/{file}" for file in expected]
    assert files == {"build": [], "tests": [], "planted": [], "writable": []}


@pytest.mark.usefixtures("engine")
@both
def test_every_module_has_bytecode_that_needs_no_check(name: str) -> None:
    modules = in_image(f"{IMAGES}:{name}", STALE)
    assert modules["loaded"] > 300
    assert modules["stale"] == []


@pytest.mark.usefixtures("engine")
def test_the_image_that_is_compared_has_no_bytecode() -> None:
    modules = in_image(f"{IMAGES}:plain", STALE)
    assert len(modules["stale"]) == modules["loaded"]


@pytest.mark.usefixtures("engine")
@both
def test_a_client_is_served_within_the_limits_and_sigterm_ends_with_0(name: str, tmp_path: Path) -> None:
    arguments, options = (["/offline/agent.py"], [OFFLINE]) if name == "root" else ([], [])
    with running(f"{IMAGES}:{name}", tmp_path / "home", *arguments, options=options) as container:
        container.ready()
        _assert_confined(container)
        turn = container.ask()
        podman("healthcheck", "run", container.id)
        assert container.stop() == 0
        logs = container.logs()
    assert turn["types"][0] == "response.created"
    assert turn["types"][-1] == "response.completed"
    assert "".join(turn["deltas"]) == "Your name is Ada."
    assert logs.startswith("Loading")
    assert "Ada" not in logs


@pytest.mark.usefixtures("engine")
def test_the_same_image_serves_the_agent_that_hosts_itself(tmp_path: Path) -> None:
    dsn = "--env=HOSTEDAGENT_DSN=postgresql://agent@127.0.0.1:1/agents"  # It starts while the database is away.
    options = [HOSTED[0], HOSTED[-1], "--env=EASY_AUTH_TENANT_ID=tenant", dsn]
    with running(f"{IMAGES}:root", tmp_path / "home", "samples/self_hosted/agent.py", options=options) as container:
        status, body = container.answers()
        assert container.stop() == 0
    assert status == 503 and "storage" in body


@pytest.mark.usefixtures("engine")
def test_bytecode_makes_the_deployed_image_ready_sooner(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seconds: dict[str, list[float]] = {"root": [], "plain": []}
    cpu: dict[str, list[float]] = {"root": [], "plain": []}
    for _ in range(ROUNDS):
        for name in seconds:
            with running(f"{IMAGES}:{name}", tmp_path / "home", options=HOSTED) as container:
                clock, used = container.ready()
                seconds[name].append(clock)
                cpu[name].append(used)
                assert container.stop() == 0
    with capsys.disabled():
        print(f"\nReadiness of samples/foundry at 0.5 vCPU, from before `podman run`, best of {ROUNDS}:")
        for name, label in (("root", "the image"), ("plain", "the same without bytecode")):
            size = inspect(f"{IMAGES}:{name}")["Size"] / 1e6
            print(f"  {label:26} {min(seconds[name]):5.2f} s  {min(cpu[name]):5.2f} s of CPU  {size:4.0f} MB")
    # CPU, for the time on the clock depends on what else the machine does.
    assert min(cpu["root"]) < min(cpu["plain"])


@pytest.mark.usefixtures("engine")
def test_an_image_that_lacks_a_setting_says_so_instead_of_becoming_ready(tmp_path: Path) -> None:
    incomplete = [option for option in HOSTED if "MODEL" not in option]
    with running(f"{IMAGES}:root", tmp_path / "home", options=incomplete) as container:
        status, body = container.answers()
        logs = container.logs()
        assert container.stop() == 1
    assert status == 503
    assert "'agent'" in body
    assert "AZURE_AI_MODEL_DEPLOYMENT_NAME is not set" in logs


def _assert_confined(container: Container) -> None:
    status = container.status()
    assert set(status["Uid"].split()) == {str(UID)}
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    host: dict[str, Any] = inspect(container.id)["HostConfig"]
    assert (host["NanoCpus"], host["Memory"], host["ReadonlyRootfs"]) == (500_000_000, 1 << 30, True)
