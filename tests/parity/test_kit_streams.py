"""The conformance kit of stream transports, on each kind of them."""

import pytest

from .. import kit_ends, kit_protocol  # noqa: F401  (both note their promises)
from ..kit import STREAMS
from . import rigs
from .framework import parity

CASES = [
    pytest.param(kind, name, id=f"{kind}-{name}")
    for name, promise in STREAMS.items()
    for kind in promise.kinds
]


@pytest.mark.parametrize("kind, name", CASES)
@parity
async def test_stream(loop, trace, kind, name):
    promise = STREAMS[name]
    async with rigs.connected(loop, kind, trace, promise.near) as rig:
        await promise.body(rig, trace)
