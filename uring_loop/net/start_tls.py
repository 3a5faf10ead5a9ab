"""loop.start_tls(): the stdlib's coroutine, which makes an SSLProtocol of ours.

The stdlib's method names the class that it makes, and what else it does changes between
releases. So its code is taken as it is, with one global name replaced.
"""

import types
from asyncio import base_events

from uring_loop.net import tls

STOCK = base_events.BaseEventLoop.start_tls

NAMES = types.SimpleNamespace(SSLProtocol=tls.SSLProtocol)

start_tls = types.FunctionType(
    STOCK.__code__, {**vars(base_events), "sslproto": NAMES},
    STOCK.__name__, STOCK.__defaults__, STOCK.__closure__)
start_tls.__kwdefaults__ = STOCK.__kwdefaults__
start_tls.__doc__ = STOCK.__doc__
start_tls.__qualname__ = STOCK.__qualname__
