"""The outcome of every kind of turn: the one table that the tests compare hosts with and that the document prints.

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

    `wire` is the last status that the client received, or the fate of its connection. `get` is the status that GET
    returns afterwards, from the next process if the first one ended, and how much of the output exists. `prompt` is
    how much of this turn the model sees in the next turn of the conversation.
    """

    wire: str
    get: str
    prompt: Literal["whole", "nothing"]


STORY: Final = (
    "These tables list the outcome of a turn, by how its client waits for it and by how it ends. The outcomes are the "
    "same for an agent and for a workflow. `tests/lifecycle` compares hosts with the tables, cell by cell, and starts, "
    "stops and kills processes to do so.",
    "**On the wire** is the last status that the client receives, or the fate of its connection. The client of a "
    "background turn without `stream` receives `in_progress`, and polls. **GET afterwards** is the result of `GET "
    "/responses/{id}` once the turn has ended; if its process has ended too, that of the next process on the same "
    "stores. **In the next prompt** is how much of the turn the model sees when the conversation continues: the "
    "`whole` turn, or `nothing`, neither its input nor its output.",
    "However a turn ends, the process stops its model call, its tools and the creation of its agent before it reports "
    "that the turn has stopped, and before it answers a caller who cancels. Tools that are not `async` run in "
    "threads, which cannot be stopped: their results are dropped, and a process that ends waits for them.",
    "While a background turn runs, `GET` returns the finished items and the text of a message so far. For a foreground "
    "turn it returns `in_progress`, except in the process of the SDK's host that runs it, which answers 404; on "
    "Foundry, other processes report it as failed until it has ended. A foreground turn cannot be cancelled by its id: "
    "its client disconnects instead. If a client cancels or disconnects, the protocol keeps no output. On SIGTERM, "
    "the output so far is kept.",
)

ENDINGS: Final[Mapping[Ending, str]] = {
    "completes": "The run ends normally.",
    "fails": "The agent or its model raises an error.",
    "cancelled": "The client sends `POST /responses/{id}/cancel` while the model answers.",
    "client gone": "The client disconnects while the model answers. A background turn continues.",
    "SIGTERM, short": (
        "The process gets SIGTERM, and the turn ends within `shutdown_grace`. A waiting caller gets its result; new "
        "turns are refused, with 503 or because the server no longer listens. The process exits with code 0."
    ),
    "SIGTERM, long": (
        "The process gets SIGTERM, and the turn does not end within `shutdown_grace`. It is stopped and fails with "
        "`server_error`, and the process exits with code 0."
    ),
    "kill -9": (
        "The process is killed while the model answers. If the stores are files, its death is detected at once. On "
        "Foundry it is detected within a minute; until then GET returns `in_progress` for a background turn, and the "
        "conversation is busy."
    ),
    "SIGTERM, long, resilient": (
        "As in the long turn above, but with `resilient_background`: the next process resumes what it can "
        "([recovery](../recovery.md))."
    ),
    "kill -9, resilient": "As in the killed turn above, but with `resilient_background`.",
}

_CUT: Final = "completed, whole output and the interrupted item"
_RECOVERED: Final = End("cut off", "completed, whole output", "whole")
_WHOLE: Final = End("completed", "completed, whole output", "whole")
_FAILED: Final = End("failed", "failed, output so far", "nothing")
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
