"""A stream that is quiet gets comments after its first frame, and only then."""

from collections.abc import AsyncGenerator

from hostedagent.protocol.sse import KEEP_ALIVE
from hostedagent.server.responses import with_comments
from hostedagent.testing import Gate


async def test_a_quiet_stream_gets_comments_after_its_first_frame() -> None:
    first, second = Gate(), Gate()

    async def frames() -> AsyncGenerator[bytes]:
        await first.wait()
        yield b"one"
        await second.wait()
        yield b"two"

    first.open()
    seen: list[bytes] = []
    async for frame in with_comments(frames(), 0.001):
        seen.append(frame)
        if seen.count(KEEP_ALIVE) == 2:
            second.open()

    assert seen[0] == b"one" and seen[-1] == b"two" and set(seen[1:-1]) == {KEEP_ALIVE}
