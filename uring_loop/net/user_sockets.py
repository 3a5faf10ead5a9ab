"""Marks the sockets that the user gives to create_connection(sock=...) and its like.

The user keeps such a socket: he may close it, or use its descriptor beside the
transport. asyncio passes only the socket itself to the hook that makes the transport.
So the loop has the socket in `_user_sockets` while the method runs.
"""


class UserSocket:
    """Context manager: within it the loop knows that the socket is the user's."""

    def __init__(self, loop, sock):
        self._known = loop._user_sockets
        self._sock = sock

    def __enter__(self):
        if self._sock is not None:
            # By id: a socket of some class need not be hashable.
            self._known[id(self._sock)] = self._sock

    def __exit__(self, *exc):
        self._known.pop(id(self._sock), None)


def is_users(loop, sock):
    """Was it given by the user to the method that makes a transport of it now?"""
    return id(sock) in loop._user_sockets
