"""What becomes of a turn: the one table that the tests compare hosts with and that the document prints.

`docs/generate.py` reads this file by its path, so it imports nothing of the tests.
"""

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

Subject = Literal["agent", "workflow"]
Mode = Literal["sync", "stream", "background", "background+stream"]
Ending = Literal["completes", "fails", "cancelled", "client gone", "SIGTERM, short", "SIGTERM, long", "kill -9"]

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


ENDINGS: Final[Mapping[Ending, str]] = {
    "completes": "The run comes to its end.",
    "fails": "The agent, its model or a tool raises.",
    "cancelled": "`POST /responses/{id}/cancel` while the model answers.",
    "client gone": "The client hangs up while the model answers.",
    "SIGTERM, short": "The process is told to stop, and the turn ends within `shutdown_grace`.",
    "SIGTERM, long": "The process is told to stop, and the turn does not end within `shutdown_grace`.",
    "kill -9": "The process is killed while the model answers.",
}

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
}
