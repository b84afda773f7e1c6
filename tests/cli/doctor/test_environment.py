"""The table of the environment: each value, here and when deployed, and where it comes from."""

from __future__ import annotations

import pytest

from hostedagent.cli.doctor.environment import Place, Variable, masked, variables
from tests.cli.doctor.bench import ENDPOINT, Bench
from tests.samples.server import served

MODEL = "AZURE_AI_MODEL_DEPLOYMENT_NAME"


def row(bench: Bench, name: str) -> Variable:
    (found,) = [row for row in variables(bench.project()) if row.name == name]
    return found


def test_a_value_of_the_env_file_is_not_deployed(bench: Bench) -> None:
    bench.write(".env", "SHOP=open\n")

    assert row(bench, "SHOP") == Variable("SHOP", Place("open", ".env"), None)


def test_a_value_of_the_process_goes_before_the_env_file(bench: Bench) -> None:
    bench.write(".env", f"{MODEL}=from-file\n")
    bench.process[MODEL] = "from-process"

    assert row(bench, MODEL).here == Place("from-process", "process, not .env")


def test_a_value_of_azure_yaml_is_filled_in_from_the_selected_azd_environment(bench: Bench) -> None:
    bench.azd(**{MODEL: "gpt-deployed"})

    assert row(bench, MODEL).deployed == Place("gpt-deployed", f"azure.yaml, {MODEL} from .azure/dev/.env")


def test_the_process_may_select_another_azd_environment(bench: Bench) -> None:
    bench.azd(**{MODEL: "gpt-deployed"})
    bench.write(".azure/test/.env", f"{MODEL}=gpt-test\n")
    bench.process["AZURE_ENV_NAME"] = "test"

    assert row(bench, MODEL).deployed == Place("gpt-test", f"azure.yaml, {MODEL} from .azure/test/.env")


def test_a_value_that_is_not_there_yet_comes_from_provisioning(bench: Bench) -> None:
    assert row(bench, MODEL).deployed == Place("", f"azure.yaml, {MODEL} from azd provision")


def test_the_platform_sets_its_own_whatever_stands_in_the_env_file(bench: Bench) -> None:
    bench.write(".env", f"FOUNDRY_PROJECT_ENDPOINT={ENDPOINT}\n")

    found = row(bench, "FOUNDRY_PROJECT_ENDPOINT")

    assert found.here == Place(ENDPOINT, ".env")
    assert found.deployed is not None
    assert found.deployed.source == "platform"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SHOP_KEY", "abc"),
        ("APPLICATIONINSIGHTS_CONNECTION_STRING", "abc"),
        ("DATABASE", "https://me:word@db.example"),
        ("STORE", "AccountName=a;AccountKey=abc=="),
    ],
)
def test_what_looks_like_a_secret_is_masked_in_the_table(name: str, value: str, bench: Bench) -> None:
    bench.write(".env", f"{name}='{value}'\n")

    assert row(bench, name).here == Place("****", ".env")


def test_what_is_no_secret_is_shown(bench: Bench) -> None:
    bench.write(".env", "SHOP=https://shop.example/a?b=c\n")

    assert row(bench, "SHOP").here == Place("https://shop.example/a?b=c", ".env")
    assert masked("SHOP_KEY", "") == ""


def test_differing_secrets_are_found_and_not_told(bench: Bench) -> None:
    bench.write(".env", "SHOP_KEY=one-secret\n")
    bench.azd(SHOP_KEY="other-secret")

    (found,) = bench.findings("environment")

    assert found.code == "env.differs"
    assert "secret" not in found.message + found.fix


def test_a_server_of_hostedagent_on_the_port_is_known(bench: Bench) -> None:
    with served("samples/hello/agent.py") as url:
        bench.process["PORT"] = url.rpartition(":")[2]

        assert [found.code for found in bench.findings("port")] == ["port.ours"]
