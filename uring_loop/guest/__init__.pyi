"""Types of uring_loop.guest."""

from uring_loop import Guest as Guest

__all__ = ["Guest"]
