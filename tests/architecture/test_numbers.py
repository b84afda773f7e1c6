"""The numbers that the package names: limits, time spans, sizes and versions of stored forms, stated once more.

Tests that import a limit follow it wherever it goes. Here a changed number is noticed, whatever module it is in: change
its row too if the change is meant.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "hostedagent"
APART = ("cli", "emulator", "templates", "testing")
"""Packages whose numbers no served request meets."""

NUMBERS: dict[str, set[float]] = {
    "ACCEPTED_AT_ONCE": {256},
    "ACCEPTING_SECONDS": {60.0},
    "AGAIN_SECONDS": {0.5, 1.0},
    "ANSWER_SECONDS": {10.0},
    "_APPLICATION_ID": {1_751_213_940},
    "ATTEMPTS": {3, 50},
    "_ATTEMPTS": {4},
    "_BACKLOG": {2048},
    "_BATCH": {500},
    "BATCH_EVENTS": {32},
    "_BATCH_LENGTH": {8},
    "BATCH_SECONDS": {0.05},
    "BEGIN_SECONDS": {10.0},
    "_CACHED": {2000},
    "CANCEL_SECONDS": {0.2, 10.0},
    "CHAIN_CHECKPOINTS": {8},
    "CHECK_SECONDS": {2.0, 60.0},
    "CLOSE_SECONDS": {2.0, 10.0},
    "_DEFAULT_ROWS": {20},
    "DEFAULT_THRESHOLD": {200_000},
    "DEFAULT_TTL": {2592000.0},
    "DRAIN_SECONDS": {30},
    "EARLY_SECONDS": {300.0},
    "ENDING_SECONDS": {6.0},
    "_ERROR": {500},
    "FEW": {100},
    "FINISHED_SECONDS": {86400.0},
    "FORGET_SECONDS": {60.0},
    "FRESH_SECONDS": {5.0},
    "_GONE": {410},
    "GRACE_SECONDS": {3.0},
    "HANGING_SECONDS": {6.0},
    "HEARTBEAT_SECONDS": {5.0},
    "_HOLD_SECONDS": {20.0},
    "INLINE_CHARACTERS": {400_000},
    "_JITTER": {0.2},
    "KEEP_ALIVE_SECONDS": {75},
    "KEPT_SECONDS": {86400.0},
    "KEYS_SECONDS": {300.0},
    "_KEY_BYTES": {32},
    "LAST_SECONDS": {5.0},
    "_LEAST_BYTES": {24},
    "LEAVE_SECONDS": {2.0},
    "_LINES": {256},
    "_LINKS": {4000},
    "_LONGEST": {256},
    "_LONGEST_ID": {256},
    "_LONGEST_LINE": {2000},
    "_LONGEST_NAME": {64},
    "_LONGEST_STEM": {52},
    "LOOKS": {10},
    "LOOK_SECONDS": {0.05, 0.25, 0.5, 1.0, 3.0},
    "MAX_AHEAD": {32},
    "_MAX_BODY": {1_048_576},
    "_MAX_BYTES": {1_000_000, 67_108_864},
    "MAX_CALLERS": {500},
    "MAX_DATA_BYTES": {8_388_608},
    "MAX_DESCRIPTION": {2000},
    "MAX_DESCRIPTORS": {65_536},
    "MAX_EXCLUDED": {2000},
    "_MAX_GROUP": {64},
    "MAX_HEAD_BYTES": {65_536},
    "_MAX_ID": {256},
    "MAX_ITEM_BYTES": {1_000_000},
    "_MAX_KINDS": {8},
    "MAX_LANES": {16},
    "MAX_LISTINGS": {1024},
    "MAX_MESSAGE": {500},
    "_MAX_NAME": {80},
    "MAX_OPEN_FILES": {64},
    "MAX_OWNERS": {4000},
    "_MAX_PAUSE": {5.0},
    "_MAX_PAYLOAD": {7900},
    "MAX_PENDING": {1000},
    "MAX_QUEUED": {16},
    "MAX_RESUMABLE": {10_469_376},
    "MAX_RETRIES": {20},
    "MAX_RETRY_AFTER": {60},
    "MAX_SECONDS": {3600.0},
    "_MAX_SESSION_ID": {256},
    "MAX_SHUTDOWN_GRACE": {8.0},
    "MAX_SPANS": {1000},
    "MAX_STEERS": {8},
    "MAX_STREAM_ID": {128},
    "MAX_TOOLS": {1000},
    "MAX_TRACES": {200},
    "_MAX_TTL": {3153600000.0},
    "MAX_VALUE_BYTES": {990_000},
    "MAX_WAITING": {16, 2000},
    "MAX_WORDS": {2000},
    "MINIMUM_VERSION": {150_000},
    "MIN_CONNECTIONS": {16},
    "MOST": {9_007_199_254_740_991},
    "_MOST": {512, 2_147_483_647},
    "MOST_AT_ONCE": {16},
    "_MOST_ITEMS": {100},
    "_MOST_RETRY_AFTER": {3600.0},
    "MOST_ROWS": {100},
    "MOST_TRIES": {20},
    "_NEVER": {-1},
    "_NONCE_BYTES": {12},
    "OUTCOME_SECONDS": {10.0},
    "OWN_DESCRIPTORS": {384},
    "PARSED_AT_ONCE": {32_768},
    "_PARTITION_KEY_LENGTH": {18},
    "_PART_BYTES": {900_000},
    "PART_CHARACTERS": {900_000},
    "_PATIENCE": {1.0, 30.0},
    "PATIENCE_SECONDS": {0.05, 1.0},
    "PAUSE": {0.5},
    "PAUSE_SECONDS": {0.5},
    "_POLICY_VIOLATION": {1008},
    "_POLL_SECONDS": {0.5},
    "QUEUED_EVENTS": {2},
    "_READS_AT_ONCE": {8},
    "READ_AHEAD": {8},
    "_RECONNECT_SECONDS": {2.0},
    "_REFUSED": {400},
    "_REMEMBERED": {1000},
    "REPEATS": {5},
    "REPEAT_SECONDS": {60.0},
    "REPLAY_SECONDS": {600.0},
    "RETRY_SECONDS": {0.5, 1.0, 10.0},
    "RUNNING_SECONDS": {604800.0},
    "_SAFETY_SECONDS": {15.0},
    "SCAN_SECONDS": {30.0},
    "SCHEMA_VERSION": {1},
    "SECONDS": {10.0},
    "_SEGMENT": {256},
    "SHARDS": {8},
    "SPARE_DESCRIPTORS": {64},
    "STOP_SECONDS": {5.0},
    "STORING_SECONDS": {10.0},
    "_SWEEP_ROWS": {500, 1000},
    "SWEEP_SECONDS": {60.0},
    "TAKING_SECONDS": {0.5},
    "_TIMEOUT": {5.0},
    "TRIES": {4},
    "_TRIES": {4},
    "TTL": {86400.0},
    "_UNAUTHORIZED": {401},
    "_URL_ELICITATION": {-32_042},
    "WATCHED_AFTER_SECONDS": {0.02},
    "WATCH_SECONDS": {0.5},
    "_WEIGHT": {0.2},
    "WHOLE": {-1},
    "_WINDOW": {16},
    "YIELD_EVERY": {16},
}  # fmt: skip
"""The name of a constant, to its value; to several where modules use the name for different numbers."""

_PARTS = (ast.Constant, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop)


def numbers() -> Iterator[tuple[str, float]]:
    """The constants of modules whose value is a number or computed from numbers."""
    for path in sorted(SOURCE.rglob("*.py")):
        if path.relative_to(SOURCE).parts[0] in APART:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            match node:
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                    parts = list(ast.walk(value))
                    values = [part.value for part in parts if isinstance(part, ast.Constant)]
                    if all(isinstance(part, _PARTS) for part in parts) and {type(one) for one in values} <= {
                        int,
                        float,
                    }:
                        yield name, eval(ast.unparse(value))
                case _:
                    pass


def test_every_number_that_has_a_name_is_the_one_stated_here() -> None:
    found: defaultdict[str, set[float]] = defaultdict(set)
    for name, value in numbers():
        if name in NUMBERS:
            found[name].add(value)

    assert dict(found) == NUMBERS
