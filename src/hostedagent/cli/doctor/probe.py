"""Loads an agent in a separate process and writes the result: `python -m ...probe TARGET RESULT_FILE`.

The user's module may print, hang, or end the process; none of that must happen to doctor itself.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def main(target_text: str, result: Path) -> None:
    """Load the target as `run` does, and write `kind`, `message` and the `paths` of its routes as JSON."""
    from hostedagent.cli.failures import rendered
    from hostedagent.cli.loader import Target, TargetError, UserCodeError, as_host, load

    kind, message, paths = "fine", "", list[str]()
    try:
        target = Target.parse(target_text)
        paths = [path for route in as_host(load(target), target).app.routes if (path := getattr(route, "path", ""))]
    except TargetError as error:
        kind, message = "target", str(error)
    except UserCodeError as error:
        kind, message = "raises", rendered(error.error).strip()
    result.write_text(json.dumps({"kind": kind, "message": message, "paths": paths}), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
