"""Marks the sockets that a program passes to create_connection(sock=...) and the like.

The program still owns such a socket: it may close it, or use the descriptor beside the
transport. asyncio passes only the socket to the hook that makes the transport. So the
loop keeps the socket in `_user_sockets` while the method runs.
"""


class UserSocket:
    """Context manager that marks a socket as the user's."""

    def __init__(self, loop, sock):
        self._known = loop._user_sockets
        self._sock = sock

    def __enter__(self):
        if self._sock is not None:
            # By id: an instance of a subclass may not be hashable.
            self._known[id(self._sock)] = self._sock

    def __exit__(self, *exc):
        self._known.pop(id(self._sock), None)


def is_users(loop, sock):
    """Has the user passed the socket to the method that makes its transport now?"""
    return id(sock) in loop._user_sockets
