"""Guest mode: a foreign main loop (GLib, Qt, Tk, another asyncio loop) runs a Loop."""

from uring_loop.guest.guest import Guest

__all__ = ["Guest"]
