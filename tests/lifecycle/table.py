"""What becomes of a turn: the one table that the tests compare hosts with and that the document prints.

`docs/generate.py` reads this file by its path, so it imports nothing of the tests.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Subject = Literal["agent", "workflow"]
Mode = Literal["sync", "stream", "background", "background+stream"]
Ending = Literal[
    "completes",
    "fails",
    "cancelled",
    "client gone",
    "SIGTERM, short",
    "SIGTERM, long",
    "kill -9",
    "SIGTERM, long, resilient",
    "kill -9, resilient",
]

SUBJECTS: Final[tuple[Subject, ...]] = ("agent", "workflow")
MODES: Final[tuple[Mode, ...]] = ("sync", "stream", "background", "background+stream")


class End(NamedTuple):
    """How a turn ended.

    `wire` is the last that the client was told: a status, or what happened to its connection. `get` is the status that
    GET tells afterwards, by the next process where the first one ended, and how much of the output is there. `prompt`
    is what the next turn of the conversation shows the model of this one.
    """

    wire: str
    get: str
    prompt: Literal["whole", "nothing"]


STORY: Final = (
    "What becomes of a turn, by how its client waits for it and by how it ends. The tests compare hosts with these "
    "tables, cell by cell, for an agent and for a workflow: it is the same for both. `tests/lifecycle` starts, stops "
    "and kills the processes that this takes.",
    "**On the wire** is the last that the client is told: the status of the response, or what happens to its "
    "connection. Who starts a background turn without `stream` is told `in_progress`, and asks later. **GET "
    "afterwards** is what `GET /responses/{id}` tells once the turn has ended: by the next process on the same "
    "stores, where the first one ended. **In the next prompt** is what the model is shown of the turn when the "
    "conversation goes on: the `whole` of it, or `nothing`, neither what was asked nor what was answered.",
    "However a turn ends, the process stops its model call, its tools and its agent's set-up before it reports that "
    "the turn has stopped, and before a caller who cancels gets an answer. Tools that are not `async` run in "
    "threads, which cannot be stopped: their results are dropped, and a process that ends waits for them.",
    "While a background turn runs, `GET` shows the items that are done and the text of a message so far. Of other "
    "turns it says `in_progress`, except in the process of the SDK's host that runs them, where it gets 404; on "
    "Foundry another process calls them failed until they have ended. They cannot be cancelled by their id: their "
    "client hangs up instead. When a client cancels or leaves, the protocol keeps nothing of the output. On SIGTERM, "
    "the output so far is kept.",
)

ENDINGS: Final[Mapping[Ending, str]] = {
    "completes": "The run comes to its end.",
    "fails": "The agent or its model raises.",
    "cancelled": "`POST /responses/{id}/cancel` while the model answers.",
    "client gone": "The client hangs up while the model answers. In the background the turn goes on.",
    "SIGTERM, short": (
        "The process gets SIGTERM, and the turn ends within `shutdown_grace`. A waiting caller learns how it ended; "
        "new turns are refused, with 503 or because the server no longer listens. The process ends with code 0."
    ),
    "SIGTERM, long": (
        "The process gets SIGTERM, and the turn does not end within `shutdown_grace`. It is stopped and has failed "
        "with `server_error`, and the process ends with code 0."
    ),
    "kill -9": (
        "The process is killed while the model answers. That it has ended is known at once where the stores are files. "
        "On Foundry it is known within a minute; until then GET says `in_progress` of a background turn, and the "
        "conversation is taken."
    ),
    "SIGTERM, long, resilient": (
        "The same as the long turn above, with `resilient_background`, and the next process takes up what it can "
        "([recovery](../recovery.md))."
    ),
    "kill -9, resilient": "The same as the killed turn above, with `resilient_background`.",
}

_CUT: Final = "completed, whole output, what was cut off too"
_RECOVERED: Final = End("cut off", "completed, whole output", "whole")
_WHOLE: Final = End("completed", "completed, whole output", "whole")
_FAILED: Final = End("failed", "failed, what was said", "nothing")
_REFUSED: Final = End("the cancel gets 404; completed", "completed, whole output", "whole")
_LEFT: Final = End("nothing", "cancelled, no output", "nothing")
_DIED: Final = End("cut off", "failed, no output", "nothing")

TABLE: Final[Mapping[tuple[Ending, Mode], End]] = {
    ("completes", "sync"): _WHOLE,
    ("completes", "stream"): _WHOLE,
    ("completes", "background"): _WHOLE._replace(wire="in_progress"),
    ("completes", "background+stream"): _WHOLE,
    ("fails", "sync"): _FAILED,
    ("fails", "stream"): _FAILED,
    ("fails", "background"): _FAILED._replace(wire="in_progress"),
    ("fails", "background+stream"): _FAILED,
    ("cancelled", "sync"): _REFUSED,
    ("cancelled", "stream"): _REFUSED,
    ("cancelled", "background"): End("in_progress; the cancel gets cancelled", "cancelled, no output", "nothing"),
    ("cancelled", "background+stream"): End("cancelled", "cancelled, no output", "nothing"),
    ("client gone", "sync"): _LEFT,
    ("client gone", "stream"): _LEFT,
    ("client gone", "background"): _WHOLE._replace(wire="in_progress"),
    ("client gone", "background+stream"): _WHOLE._replace(wire="nothing"),
    ("SIGTERM, short", "sync"): _WHOLE,
    ("SIGTERM, short", "stream"): _WHOLE,
    ("SIGTERM, short", "background"): _WHOLE._replace(wire="in_progress"),
    ("SIGTERM, short", "background+stream"): _WHOLE,
    ("SIGTERM, long", "sync"): _FAILED,
    ("SIGTERM, long", "stream"): _FAILED,
    ("SIGTERM, long", "background"): _FAILED._replace(wire="in_progress"),
    ("SIGTERM, long", "background+stream"): _FAILED,
    ("kill -9", "sync"): _DIED,
    ("kill -9", "stream"): _DIED,
    ("kill -9", "background"): _DIED._replace(wire="in_progress"),
    ("kill -9", "background+stream"): _DIED,
    ("SIGTERM, long, resilient", "sync"): _FAILED,
    ("SIGTERM, long, resilient", "stream"): _FAILED,
    ("SIGTERM, long, resilient", "background"): _RECOVERED._replace(wire="in_progress"),
    ("SIGTERM, long, resilient", "background+stream"): _RECOVERED._replace(get=_CUT),
    ("kill -9, resilient", "sync"): _DIED,
    ("kill -9, resilient", "stream"): _DIED,
    ("kill -9, resilient", "background"): _RECOVERED._replace(wire="in_progress"),
    ("kill -9, resilient", "background+stream"): _RECOVERED._replace(get=_CUT),
}
