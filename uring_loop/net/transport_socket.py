"""The object of get_extra_info("socket"): TransportSocket, in step with held writes.

A program that uses the descriptor itself (os.sendfile(), another process) expects that
all it has written is in the kernel. So whatever exposes the descriptor first sends what
the transport holds back, and from then on that transport holds nothing back: the
program may have kept the number.
"""

import weakref
from asyncio import trsock


class TransportSocket(trsock.TransportSocket):
    """asyncio's TransportSocket of one transport of ours."""

    __slots__ = ("_transport",)

    def __init__(self, sock, transport):
        super().__init__(sock)
        # Weak: the transport has this object, and must not wait for the collector.
        self._transport = weakref.ref(transport)

    def _expose(self):
        transport = self._transport()
        if transport is not None:
            transport._expose()

    @property
    def _sock(self):
        self._expose()
        return SOCK.__get__(self)

    @_sock.setter
    def _sock(self, sock):
        SOCK.__set__(self, sock)

    # asyncio's other methods go through _sock, which these do not expose.

    @property
    def family(self):
        return SOCK.__get__(self).family

    @property
    def type(self):
        return SOCK.__get__(self).type

    @property
    def proto(self):
        return SOCK.__get__(self).proto

    def get_inheritable(self):
        return SOCK.__get__(self).get_inheritable()

    def getpeername(self):
        return SOCK.__get__(self).getpeername()

    def getsockname(self):
        return SOCK.__get__(self).getsockname()

    # Those that concern what has been written come after it.

    def _written(self):
        transport = self._transport()
        if transport is not None:
            transport._flush_held()
        return SOCK.__get__(self)

    def getsockopt(self, *args, **kwargs):
        return self._written().getsockopt(*args, **kwargs)

    def setsockopt(self, *args, **kwargs):
        self._written().setsockopt(*args, **kwargs)

    def shutdown(self, how):
        self._written().shutdown(how)


SOCK = trsock.TransportSocket.__dict__["_sock"]
