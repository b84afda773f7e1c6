"""LiteLLM's proxy in front of the host, and `openai` as its client: one model name for each case."""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import openai
from driver import Case, run
from openai_features import Features

STARTUP_SECONDS = 120


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def is_up(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/liveliness", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


def name(case: Case) -> str:
    return case.url.rpartition("/")[2]


def main() -> None:
    cases = [Case(**row) for row in json.load(sys.stdin)]
    models = [
        {"model_name": name(case), "litellm_params": {"model": "openai/any", "api_base": case.url, "api_key": "k"}}
        for case in cases
    ]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        # JSON is YAML.
        json.dump({"model_list": models, "router_settings": {"num_retries": 0, "disable_cooldowns": True}}, config)
        config.flush()
        port, key = free_port(), f"sk-{secrets.token_hex(32)}"
        url = f"http://127.0.0.1:{port}"
        command = Path(sys.executable).with_name("litellm")
        process = subprocess.Popen(
            [command, "--config", config.name, "--host", "127.0.0.1", "--port", str(port)],
            env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": key},
            stdout=sys.stderr,
        )
        try:
            for _ in range(STARTUP_SECONDS * 5):
                if is_up(url):
                    break
                try:
                    process.wait(0.2)
                except subprocess.TimeoutExpired:
                    continue
                raise SystemExit("the proxy did not start")
            client = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)
            run(Features(lambda case: (client, name(case))).table(), cases)
        finally:
            process.terminate()
            process.wait()


main()
