"""What `.ci/run` repeats: on other stores, on two replicas, on a pre-release of the SDK, on the lowest versions.

`python -m tests.repeated stores` prints the files whose outcome stores can change; with `--whole`, all their folders.
A file that is named nowhere is repeated. All have passed once on the newest versions, with stores in memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent

CONTENT: Final = (
    "clients/test_calls_together clients/test_framework_matrix clients/test_host_anthropic clients/test_host_approvals "
    "clients/test_host_chat_completions clients/test_host_cut_streams clients/test_host_errors "
    "clients/test_host_odd_input clients/test_host_options clients/test_host_parity clients/test_host_responses "
    "clients/test_host_sendable clients/test_host_tool_loop"
).split()
FAKE: Final = "clients/test_upstream clients/test_upstream_rules clients/test_upstream_wire".split()
SERVER: Final = (
    "host/test_bounded_http host/test_edge host/test_ending host/test_keep_alive host/test_serving "
    "host/test_slow_reader host/test_websocket_client"
).split()
FORMS: Final = "host/test_envelope_bytes host/test_options host/test_own_routes".split()
OWN_ROUTES: Final = (
    "host/test_bounded_http host/test_conversation_routes host/test_cut_streams host/test_idempotency "
    "host/test_input_tokens host/test_own_driver host/test_steer_route host/test_steering host/test_websocket "
    "host/test_websocket_client isolation/test_doors"
).split()


@dataclass(frozen=True, slots=True)
class Repeated:
    """Tests that run again.

    Args:
        folders: The folders, or files, that `--whole` repeats.
        without: The files that are left out otherwise, by the reason.
    """

    folders: Sequence[str]
    without: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])

    def files(self) -> Iterator[Path]:
        """The files whose outcome can change."""
        left_out = {name for names in self.without.values() for name in names}
        for folder in self.folders:
            for path in sorted((TESTS / folder).rglob("test_*.py")):
                if path.relative_to(TESTS).with_suffix("").as_posix() not in left_out:
                    yield path


SAME_ON_ALL_STORES: Final[Mapping[str, Sequence[str]]] = {
    "What a model is asked and what becomes of its answer. That every store gives back to the byte what it was "
    "given is in test_host_same_prompt, how turns continue in host/test_conversations.": CONTENT,
    "The fake services themselves.": FAKE,
    "Connections, and the ends of processes.": SERVER,
    "No turn, or none that is read again.": [
        *FORMS,
        "host/test_cors",
        "host/test_logs",
        "host/test_raising_logs",
        "host/test_openapi",
        "host/test_readiness",
        "host/test_refusals",
        "host/test_routes",
    ],
    "Refused before anything is stored.": ["host/test_bad_input", "host/test_identity"],
    "The run of an agent, whatever becomes of it.": [
        "host/test_hooks",
        "host/test_kept_requests",
        "host/test_loop_hold",
        "host/test_merging",
        "host/test_source_resources",
        "host/test_starvation",
        "host/test_telemetry",
    ],
    "All kinds of items that a version of a library declares; items of all kinds are in test_lenient_input.": [
        "host/test_generated_items"
    ],
    "Serve stores that they name themselves, whichever the run was started with.": [
        "host/test_abandonment",
        "host/test_busy",
        "host/test_cut_streams",
        "host/test_driver_differences",
        "host/test_foundry_history_provider",
        "host/test_input_tokens",
        "host/test_open_files",
        "host/test_release",
        "host/test_resilience",
        "host/test_snapshots",
        "host/test_steer_route",
        "host/test_steering",
        "host/test_websocket",
        "clients/test_host_background_service",
        "clients/test_host_service_history",
    ],
}


REPEATED: Final[Mapping[str, Repeated]] = {
    "stores": Repeated(["host", "clients"], SAME_ON_ALL_STORES),
    "replicas": Repeated(["host", "clients"], SAME_ON_ALL_STORES),
    "prerelease": Repeated(
        ["host", "isolation"],
        {
            "The package's own routes, without the SDK.": OWN_ROUTES,
            "No host is served.": FORMS,
            "Time that the package's own reading takes.": ["host/test_loop_hold"],
        },
    ),
    "lowest": Repeated(
        [
            "agents",
            "clients",
            "contract",
            "doors",
            "embed",
            "engine",
            "framework",
            "host",
            "mcp",
            "postgres",
            "protocol",
            "server",
            "stores",
            "workflows",
        ],
        {
            "The fake services themselves.": FAKE,
            "Time that the package's own reading takes.": ["host/test_loop_hold"],
            "What a library declares, of which the newest declares more.": ["host/test_generated_items"],
        },
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the paths for pytest."""
    parser = argparse.ArgumentParser(prog="python -m tests.repeated", description=__doc__)
    parser.add_argument("--whole", action="store_true", help="the folders, with all that is in them")
    parser.add_argument("what", choices=REPEATED)
    given = parser.parse_args(arguments)
    repeated = REPEATED[given.what]
    paths = [TESTS / folder for folder in repeated.folders] if given.whole else list(repeated.files())
    print(*(path.relative_to(TESTS.parent) for path in paths), sep="\n")


if __name__ == "__main__":
    main()
