"""The shape of the kernel, counted: few context variables, and the SDK in its two places."""

import ast
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "hostedagent"
FOLDERS_WITHOUT_SDK = ("agents", "conversation", "engine", "protocol")


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield str(path.relative_to(SOURCE)), ast.parse(path.read_text(encoding="utf-8"))


def test_a_request_is_known_through_one_context_variable_and_a_binding_of_the_application_through_another() -> None:
    found = [
        name
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "ContextVar"
    ]

    assert found == ["conversation/history/foundry_provider.py", "identity.py"]


def test_the_sdk_is_imported_below_its_drivers_only() -> None:
    found = [
        name
        for name, tree in modules()
        if name.startswith(FOLDERS_WITHOUT_SDK) or name == "host.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("azure.ai.agentserver")
    ]

    assert found == []
