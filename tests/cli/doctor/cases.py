"""One case for each rule: how to break the bench, and what must be printed to repair it."""

from __future__ import annotations

from functools import partial

from tests.cli.doctor.agent_cases import AGENT, file, yaml
from tests.cli.doctor.bench import ENDPOINT, SCOPE, Bench, Case


def docker(old: str, new: str) -> partial[None]:
    return partial(Bench.edit, name="Dockerfile", old=old, new=new)


def local(**values: str) -> partial[None]:
    def set_all(bench: Bench) -> None:
        bench.process.update(values)

    return partial(set_all)


def missing_package(bench: Bench) -> None:
    bench.distribution("hostedagent", "0.1.0", "Requires-Python: >=3.11", "Requires-Dist: not-there<3,>=2")


def old_package(bench: Bench) -> None:
    bench.distribution("hostedagent", "0.1.0", "Requires-Python: >=3.11", "Requires-Dist: not-new<3,>=2")
    bench.distribution("not-new", "1.9")


def foundry_missing(bench: Bench) -> None:
    bench.process["FOUNDRY_PROJECT_ENDPOINT"] = ENDPOINT

    def installed(name: str) -> str | None:
        return None if name == "agent-framework-foundry" else "1"

    bench.monkeypatch.setattr("hostedagent.cli.doctor.machine._installed", installed)
    bench.monkeypatch.setattr("hostedagent.cli.doctor.machine.table", list)


def wrong_python(bench: Bench) -> None:
    lines = ("Requires-Python: >=3.99", "Classifier: Programming Language :: Python :: 3.99")
    bench.distribution("hostedagent", "0.1.0", *lines)


def untested_python(bench: Bench) -> None:
    lines = ("Requires-Python: >=3.11", "Classifier: Programming Language :: Python :: 3.98")
    bench.distribution("hostedagent", "0.1.0", *lines)


def our_server(bench: Bench) -> None:
    port_taken(bench)
    bench.monkeypatch.setattr("hostedagent.cli.doctor.machine._is_ours", bool)


def port_taken(bench: Bench) -> None:
    bench.process["PORT"] = str(bench.busy_port())


def home_is_a_file(bench: Bench) -> None:
    bench.process["HOME"] = str(bench.folder / "main.py")


def azd_missing(bench: Bench) -> None:
    bench.process["PATH"] = str(bench.folder)


def nobody_signed_in(bench: Bench) -> None:
    bench.sign_out()
    bench.process["FOUNDRY_PROJECT_ENDPOINT"] = ENDPOINT


def differing(bench: Bench) -> None:
    bench.write(".env", "AZURE_AI_MODEL_DEPLOYMENT_NAME=gpt-old\n")
    bench.azd(AZURE_AI_MODEL_DEPLOYMENT_NAME="gpt-new")


def no_longer_ignored(bench: Bench) -> None:
    bench.write(".env", "A=1\n")
    bench.edit(".gitignore", ".env\n", "")


MACHINE = [
    Case("python.range", "python", wrong_python, "uv venv --clear --python 3.99 && uv sync"),
    Case("python.untested", "python", untested_python, "uv venv --clear --python 3.98 && uv sync"),
    Case("packages.missing", "packages", missing_package, "uv pip install 'not-there>=2,<3'"),
    Case("packages.range", "packages", old_package, "uv pip install 'not-new>=2,<3'"),
    Case("packages.foundry", "packages", foundry_missing, "uv pip install agent-framework-foundry"),
    Case("port.wrong", "port", local(PORT="many"), "export PORT=8088"),
    Case("port.taken", "port", port_taken, "hostedagent run main.py --port 0"),
    Case("port.ours", "port", our_server, "hostedagent run main.py --port 0"),
    Case("home.closed", "home", home_is_a_file, "export HOME=$(mktemp -d)"),
]

WHOLE_YAML = [
    Case(
        "yaml.missing",
        "azure.yaml",
        partial(Bench.remove, name="azure.yaml"),
        "hostedagent init --yes --only azure.yaml",
    ),
    Case(
        "yaml.broken",
        "azure.yaml",
        file("azure.yaml", "name: [\n"),
        "Correct azure.yaml at the place that is named.",
    ),
    Case(
        "yaml.name", "azure.yaml", yaml('\nname: "my-agent"', "\nname: My_Agent"), "In azure.yaml write: name: my-agent"
    ),
    Case(
        "yaml.agent",
        "azure.yaml",
        yaml("host: azure.ai.agent", "host: containerapp"),
        "In azure.yaml write below the agent's service: host: azure.ai.agent",
    ),
    Case(
        "yaml.infra",
        "azure.yaml",
        yaml("path: ./infra", "path: ./deploy"),
        "hostedagent init ./deploy --yes --only infra && mv ./deploy/infra/* ./deploy",
    ),
    Case(
        "yaml.uses",
        "azure.yaml",
        yaml("      - ai-project", "      - database"),
        "In azure.yaml write below services: database: {host: azure.ai.project}",
    ),
    Case(
        "yaml.versions",
        "azure.yaml",
        yaml('azd: ">=1.32.0"', 'azd: ">=1.20.0"'),
        'In azure.yaml write below requiredVersions: azd: ">=1.32.0"',
    ),
    Case("yaml.legacy", "azure.yaml", file("agent.yaml", "kind: hosted\n"), "git rm agent.yaml"),
]

AGENT_YAML = [
    Case("yaml.kind", "azure.yaml", yaml("kind: hosted", "kind: prompt-voice"), "In azure.yaml write: kind: hosted"),
    Case("yaml.project", "azure.yaml", yaml("    project: .\n", ""), "In azure.yaml write: project: ."),
    Case(
        "yaml.agent_name",
        "azure.yaml",
        yaml('    name: "my-agent"', "    name: my_agent!"),
        "In azure.yaml write: name: my-agent",
    ),
    Case(
        "yaml.unexpanded",
        "azure.yaml",
        yaml('cpu: "0.5"', "cpu: ${CPU}"),
        "In azure.yaml write the value itself in services.my-agent.container.resources.cpu.",
    ),
    Case(
        "yaml.protocol",
        "azure.yaml",
        yaml("version: 2.0.0", "version: 1.0.0"),
        "In azure.yaml write: protocols: [{protocol: responses, version: 2.0.0}]",
    ),
    Case(
        "yaml.protocol",
        "azure.yaml",
        yaml("protocol: responses\n        version: 2.0.0", "protocol: invocations\n        version: 1.0.0"),
        "In azure.yaml write: protocols: [{protocol: invocations, version: 2.0.0}]",
    ),
    Case(
        "yaml.size",
        "azure.yaml",
        yaml('cpu: "0.5"', 'cpu: "0.75"'),
        'In azure.yaml write: resources: {cpu: "1", memory: 2Gi}',
    ),
    Case("yaml.idle", "azure.yaml", yaml(": 900", ": 10"), "In azure.yaml write: idleTimeoutSeconds: 900"),
    Case("yaml.idle_low", "azure.yaml", yaml(": 900", ": 120"), "In azure.yaml write: idleTimeoutSeconds: 300"),
    Case(
        "yaml.dockerfile",
        "azure.yaml",
        yaml("path: ./Dockerfile", "path: ./docker/Dockerfile"),
        "In azure.yaml write: docker: {path: ./Dockerfile, context: ., platform: linux/amd64, remoteBuild: true}",
    ),
    Case(
        "yaml.no_dockerfile",
        "azure.yaml",
        partial(Bench.remove, name="Dockerfile"),
        "hostedagent init --yes --only Dockerfile",
    ),
    Case(
        "yaml.start",
        "azure.yaml",
        yaml("-m hostedagent run", "another.py"),
        "In azure.yaml write: startupCommand: python -m hostedagent run main.py",
    ),
    Case(
        "yaml.loopback",
        "azure.yaml",
        yaml("-m hostedagent run", "-m hostedagent run --host 127.0.0.1"),
        "In azure.yaml write: startupCommand: python -m hostedagent run --host 0.0.0.0",
    ),
    Case(
        "yaml.platform", "azure.yaml", yaml("linux/amd64", "linux/arm64"), "In azure.yaml write: platform: linux/amd64"
    ),
    Case(
        "yaml.reserved",
        "azure.yaml",
        yaml("    env:\n", "    env:\n      FOUNDRY_PROJECT_ENDPOINT: x\n"),
        "In azure.yaml remove FOUNDRY_PROJECT_ENDPOINT from services.my-agent.env: the platform sets its own.",
    ),
    Case(
        "yaml.variable_name",
        "azure.yaml",
        yaml("    env:\n", "    env:\n      my-key: x\n"),
        "In azure.yaml write: my_key: ...",
    ),
    Case(
        "yaml.variable_text",
        "azure.yaml",
        yaml('MESSAGE_CONTENT: "false"', "MESSAGE_CONTENT: false"),
        'In azure.yaml write: OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: "false"',
    ),
    Case(
        "yaml.connection",
        "azure.yaml",
        yaml("    env:\n", "    env:\n      SEARCH: ${{connections.search.target}}\n"),
        "In azure.yaml write two dollar signs: SEARCH: $${{connections.search.target}}",
    ),
    Case(
        "yaml.not_set",
        "azure.yaml",
        yaml("    env:\n", "    env:\n      SHOP: ${SHOP_URL}\n"),
        "azd env set SHOP_URL VALUE",
    ),
    Case(
        "yaml.secret",
        "azure.yaml",
        yaml("    env:\n", "    env:\n      SHOP_KEY: s3cret\n"),
        "azd env set SHOP_KEY VALUE, and in azure.yaml write: SHOP_KEY: ${SHOP_KEY}",
    ),
]

DOCKERFILE = [
    Case(
        "docker.platform",
        "Dockerfile",
        docker("FROM python:3.13-slim\n", "FROM --platform=linux/arm64 python:3.13-slim\n"),
        "In the Dockerfile write: FROM python:3.13-slim",
    ),
    Case(
        "docker.user",
        "Dockerfile",
        docker("USER 10001\n", ""),
        "In the Dockerfile write before its last instruction: "
        "RUN useradd --uid 10001 --home-dir /home/session --create-home agent, and then: USER 10001",
    ),
    Case(
        "docker.bytecode",
        "Dockerfile",
        docker("compileall", "json.tool"),
        "In the Dockerfile write after the last COPY of the build: RUN python -m compileall -q /opt/venv/lib",
    ),
    Case(
        "docker.buildkit",
        "Dockerfile",
        docker("FROM python:3.13-slim AS build\n", "FROM python:3.13-slim AS build\nRUN --mount=type=cache true\n"),
        "In the Dockerfile write line 5 without --mount.",
    ),
    Case(
        "docker.loopback",
        "Dockerfile",
        docker('"0.0.0.0"]', '"127.0.0.1"]'),
        "In the Dockerfile write line 43 with --host 0.0.0.0",
    ),
    Case("docker.broken", "Dockerfile", file("Dockerfile", "FORM python:3.13\n"), "Correct the Dockerfile at line 1."),
    Case(
        "docker.python",
        "Dockerfile",
        docker("FROM python:3.13-slim AS build", "FROM python:3.10-slim AS build"),
        "In the Dockerfile write line 4 with python:3.13-slim",
    ),
    Case(
        "docker.absent",
        "Dockerfile",
        docker("COPY . ./", "COPY . ./\nCOPY prompts ./prompts"),
        "In the Dockerfile write line 17 without prompts, or create prompts.",
    ),
    Case(
        "docker.start",
        "Dockerfile",
        file(
            "Dockerfile",
            'FROM python:3.13\nCOPY tests ./tests\nRUN python -m compileall .\nUSER 1\nCMD ["python", "main.py"]\n',
        ),
        "In the Dockerfile write before line 5: COPY main.py ./",
    ),
    Case("docker.env_file", "Dockerfile", file(".dockerignore", "tests\n"), "echo .env >> .dockerignore"),
]

ENVIRONMENT = [
    Case(
        "env.endpoint",
        "environment",
        local(FOUNDRY_PROJECT_ENDPOINT="contoso"),
        "azd env get-value FOUNDRY_PROJECT_ENDPOINT",
    ),
    Case(
        "env.model",
        "environment",
        local(FOUNDRY_PROJECT_ENDPOINT=ENDPOINT),
        "export AZURE_AI_MODEL_DEPLOYMENT_NAME=DEPLOYMENT",
    ),
    Case("env.hosted", "environment", local(FOUNDRY_HOSTING_ENVIRONMENT="1"), "unset FOUNDRY_HOSTING_ENVIRONMENT"),
    Case(
        "env.capture",
        "environment",
        yaml('MESSAGE_CONTENT: "false"', 'MESSAGE_CONTENT: "true"'),
        'In azure.yaml write: OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT: "false"',
    ),
    Case(
        "env.differs",
        "environment",
        differing,
        "azd env get-value AZURE_AI_MODEL_DEPLOYMENT_NAME  # and write it to .env",
    ),
    Case("env.dotenv", "environment", no_longer_ignored, "echo .env >> .gitignore"),
]

ACCESS = [
    Case(
        "tools.azd",
        "tools",
        azd_missing,
        "curl -fsSL https://aka.ms/install-azd.sh | bash && azd ext install microsoft.foundry",
    ),
    Case("credentials.azd", "tools", Bench.sign_out, "azd auth login"),
    Case("credentials.none", "credentials", nobody_signed_in, "az login"),
    Case(
        "credentials.incomplete",
        "credentials",
        local(AZURE_CLIENT_SECRET="s", AZURE_TENANT_ID="t"),
        "export AZURE_CLIENT_ID=$(az ad sp list --display-name NAME --query '[0].appId' --output tsv)",
    ),
    Case(
        "roles.needed",
        "roles",
        partial(Bench.azd, AZURE_AI_PROJECT_ID=SCOPE, AZURE_PRINCIPAL_ID="me"),
        'az role assignment create --assignee-object-id "me" --assignee-principal-type User'
        f' --role eadc314b-1a2d-4efa-be10-5d325db5065e --scope "{SCOPE}"',
    ),
]

CASES = [*MACHINE, *AGENT, *WHOLE_YAML, *AGENT_YAML, *DOCKERFILE, *ENVIRONMENT, *ACCESS]

ONLINE = {"credentials.token", "roles.missing", "roles.unknown"}
"""The rules that ask Azure: `test_online.py` has their cases."""
