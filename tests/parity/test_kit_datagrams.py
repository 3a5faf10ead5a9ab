"""The conformance kit of datagram endpoints, on each kind of them."""

import pytest

from ..kit_datagrams import DATAGRAMS
from . import datagram_rigs
from .framework import parity

HOW = {False: "open", True: "connected"}
CASES = [
    pytest.param(kind, connected, name, id=f"{kind}-{HOW[connected]}-{name}")
    for name, promise in DATAGRAMS.items()
    for kind in promise.kinds
    for connected in promise.connected
]


@pytest.mark.parametrize("kind, connected, name", CASES)
@parity
async def test_datagrams(loop, trace, kind, connected, name):
    promise = DATAGRAMS[name]
    near = promise.near
    async with datagram_rigs.endpoint(loop, kind, connected, trace, near) as rig:
        await promise.body(rig, trace)
