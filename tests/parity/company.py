"""Writes in company, for the bodies: callbacks of one iteration, and what was sent."""

import asyncio
import time

from tests.slowness import PATIENCE_SECONDS

from .endpoints import PEER_SECONDS, Recorder, wired

# A pause after a slow callback is at most a second long.
ATTEMPT_SECONDS = PATIENCE_SECONDS


def there(peer):
    """What the peer could read now."""
    peer.setblocking(False)
    try:
        return peer.recv(1 << 20)
    except BlockingIOError:
        return b""
    finally:
        peer.settimeout(PEER_SECONDS)


async def connected(loop, trace, family="unix", name="near"):
    protocol = Recorder(trace.lane(name))
    transport, peer = await wired(loop, family, protocol)
    return transport, peer


async def over(*connections):
    for transport, peer in connections:
        protocol = transport.get_protocol()
        transport.abort()
        await protocol.happens("connection_lost")
        peer.close()


async def in_company(loop, *callbacks):
    """Run all in one iteration, and this task behind them, which is their company."""
    for callback in callbacks:
        loop.call_soon(callback)
    await asyncio.sleep(0)


async def wait_until_held(loop, transport, peer):
    """Until a write in company waits: then what other writes do can be seen."""
    end = time.monotonic() + ATTEMPT_SECONDS
    while time.monotonic() < end:
        seen = []

        def write():
            transport.write(b"probe")
            seen.append(there(peer))

        await in_company(loop, write)
        await asyncio.sleep(0.01)
        if seen == [b""]:
            assert there(peer) == b"probe"
            return
    raise AssertionError("each write was sent at once")


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
