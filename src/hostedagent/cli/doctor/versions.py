"""The versions of azd and its extensions that a deployment needs: the one place that names them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from packaging.version import InvalidVersion, Version

from hostedagent.cli.doctor.rules import Finding, Rule
from hostedagent.protocol.values import fields_of

AZD: Final = "1.32.0"
EXTENSIONS: Final[Mapping[str, str]] = {
    "azure.ai.agents": "1.0.0-beta.17",
    "azure.ai.projects": "1.0.0-beta.11",
    "azure.ai.connections": "1.0.0-beta.8",
}
"""As the public templates have them. Only those that `azure.yaml` names, or needs, are checked."""

_NEEDED: Final = ("azure.ai.agents", "azure.ai.projects")

OLD: Final = Rule(
    "yaml.versions",
    "warning",
    "azure.yaml: requiredVersions allows {name} {allowed}; hosted agents are tested with {wanted} and later.",
    'In azure.yaml write below requiredVersions: {line}: ">={wanted}"',
)


def versions(config: Mapping[str, Any]) -> Iterator[Finding]:
    """Lower bounds that are missing, or lower than what a deployment needs."""
    required = fields_of(config.get("requiredVersions"))
    extensions = fields_of(required.get("extensions"))
    yield from _check("azd", required.get("azd"), AZD, "azd")
    for name, wanted in EXTENSIONS.items():
        if name in extensions or name in _NEEDED:
            yield from _check(name, extensions.get(name), wanted, f"extensions: {name}")


def _check(name: str, given: object, wanted: str, line: str) -> Iterator[Finding]:
    least = re.search(r">=?\s*([\w.-]+)", str(given or "")) or re.fullmatch(r"=?\s*([\w.-]+)", str(given or ""))
    try:
        is_old = least is None or Version(least[1]) < Version(wanted)
    except InvalidVersion:
        is_old = True
    if is_old:
        yield OLD.found(name=name, allowed=repr(given) if given else "in any version", wanted=wanted, line=line)
