"""One connection of the stream fuzzer: what was sent both ways, and what must hold."""

import asyncio
import collections
import errno
import socket
import struct
import tempfile

from .pattern import piece
from .world import Boom, check

MUCH = 250_000
MOST_OF_A_FLOOD = 1 << 20
RESET = struct.pack("ii", 1, 0)


class Connection:
    """The model; protocols report to it, steps act through it."""

    def __init__(self, world, number, wanted):
        self.world = world
        self.number = number
        self.wanted = wanted
        self.peer = None
        self.file = None
        self.clear()

    def clear(self):
        if self.peer is not None:
            self.peer.close()
        self.transport = self.peer = None
        self.scripts = collections.defaultdict(collections.deque)
        # Ours to the peer; the peer's to us.
        self.written = self.arrived = 0
        self.sent = self.delivered = 0
        self.calls = collections.Counter()
        self.losses = []
        self.writing_paused = False
        self.eof_written = self.closed = self.aborted = self.boomed = False
        self.peer_shut = self.peer_gone = self.peer_saw_end = False
        self.sending = None
        self.file_cut = False

    def __repr__(self):
        state = {key: value for key, value in vars(self).items()
                 if key not in ("world", "file", "peer", "scripts")}
        return f"<Connection {state}>"

    # ---- called by the protocols

    def protocol(self):
        return PROTOCOLS[self.wanted["kind"]](self)

    def called(self, callback):
        """A callback of the protocol: note it, and do what the script has for it."""
        if self.transport is None and callback != "connection_made":
            check(False, callback, "before connection_made")
        check(not self.losses or callback in ("connection_lost", "soon"),
              callback, "after connection_lost", self)
        self.calls[callback] += 1
        if self.scripts[callback]:
            self.do(*self.scripts[callback].popleft())

    def received(self, data):
        if bytes(data) != piece(self.delivered, len(data)):
            self.world.problems.append(
                f"wrong bytes at {self.delivered} in {self!r}")
        self.delivered += len(data)
        if self.delivered > self.sent:
            self.world.problems.append(f"more than was sent: {self!r}")

    # ---- actions

    def do(self, action, size):
        if self.peer.fileno() < 0 and action.startswith("peer"):
            return
        if action.startswith("peer") or action in ALWAYS:
            ACTIONS[action](self, size)
        elif (self.transport is not None and not self.losses
              and not self.transport.is_closing()
              and (self.sending is None or action == "abort")):
            ACTIONS[action](self, size)

    def may_write(self):
        return not self.eof_written

    def write(self, size, kind=bytes):
        if self.may_write():
            data = kind(piece(self.written, size))
            self.written += size
            self.transport.write(data)
            if kind is bytearray:
                data[:] = bytes(size)

    def writelines(self, size):
        if self.may_write():
            start, self.written = self.written, self.written + size
            half = size // 2
            self.transport.writelines(
                [piece(start, half), b"", bytearray(piece(start + half, size - half))])

    def sendfile(self, size):
        if not self.may_write() or not self.world.loop.is_running():
            return
        self.file = tempfile.TemporaryFile()
        self.file.write(piece(self.written, size))
        self.file.seek(0)
        self.written += size
        self.sending = self.world.loop.create_task(
            self.world.loop.sendfile(self.transport, self.file))
        self.sending.add_done_callback(self.file_sent)

    def file_sent(self, task):
        self.sending = None
        self.file.close()
        if task.cancelled() or task.exception() is not None:
            # Part of the file is missing, as the caller has been told: a program has to
            # give up, unless the connection has ended before.
            self.file_cut = True
            self.abort(0)

    def write_eof(self, size):
        if self.may_write():
            self.eof_written = True
            try:
                self.transport.write_eof()
            except OSError as exc:
                # The peer has reset, and nobody has told yet.
                check(exc.errno == errno.ENOTCONN and self.may_fail(), repr(exc))

    def set_protocol(self, size):
        kind = sorted(PROTOCOLS)[size % len(PROTOCOLS)]
        self.transport.set_protocol(PROTOCOLS[kind](self))

    def close(self, size=0):
        if self.transport is not None and not self.losses:
            self.closed = True
            self.transport.close()

    def abort(self, size):
        if not self.losses:
            self.aborted = True
            self.transport.abort()

    def limits(self, size):
        self.transport.set_write_buffer_limits(high=size % 70_000)

    def boom(self, size):
        self.boomed = True
        raise Boom

    def interrupt(self, size):
        raise KeyboardInterrupt

    def soon(self, size):
        self.world.loop.call_soon(self.called, "soon")

    # ---- what the peer does

    def peer_sends(self, size):
        if not (self.peer_shut or self.peer_gone):
            try:
                self.sent += self.peer.send(piece(self.sent, size))
            except BlockingIOError:
                pass
            except OSError:
                self.peer_gone = True

    def peer_floods(self, size):
        before, most = -1, self.sent + MOST_OF_A_FLOOD
        while before < self.sent < most:
            before = self.sent
            self.peer_sends(65536)

    def peer_reads(self, size=0):
        if self.peer_gone or self.peer_saw_end:
            return
        try:
            data = self.peer.recv(1 << 20)
        except BlockingIOError:
            return
        except OSError:
            self.peer_gone = True
            return
        check(data == piece(self.arrived, len(data)),
              "the peer got wrong bytes at", self.arrived, self)
        self.arrived += len(data)
        check(self.arrived <= self.written, "the peer got more than was written", self)
        self.peer_saw_end |= not data

    def peer_half_closes(self, size):
        if not (self.peer_shut or self.peer_gone):
            self.peer_shut = True
            try:
                self.peer.shutdown(socket.SHUT_WR)
            except OSError:
                self.peer_gone = True

    def peer_resets(self, size):
        if self.peer.family == socket.AF_INET:
            self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.peer_closes(size)

    def peer_closes(self, size):
        self.peer_gone = True
        self.peer.close()

    # ---- what must hold

    def may_fail(self):
        """May the connection end although the program has not asked for it?"""
        return (self.peer_gone or self.boomed or self.aborted
                or self.world.driver == "chaos")

    def check(self, when):
        check(self.delivered <= self.sent, when, "more than was sent", self)
        check(len(self.losses) <= 1, when, "connection_lost twice", self)
        check(self.calls["connection_made"] == 1, when, "connection_made", self)
        for exc in self.losses:
            # Only what has ended may end without being asked.
            check(exc is None or self.may_fail(), when, "failed with", repr(exc), self)

    def no_more_scripts(self):
        self.scripts.clear()
        if not self.losses and self.sending is None:
            self.transport.resume_reading()

    def is_complete(self):
        """Everything has arrived, or cannot any more. Moves the peer on."""
        if self.losses:
            return True
        if self.peer.fileno() < 0:
            # The end of it is not read while a file is sent.
            return self.sending is None
        self.peer_reads()
        if self.sending is not None:
            return False
        if self.transport.is_closing():
            return True
        self.transport.resume_reading()
        there = self.arrived == self.written or self.peer_gone
        return there and (self.delivered == self.sent or self.peer_gone)

    def has_ended(self):
        if self.peer.fileno() >= 0:
            self.peer_reads()
        gone = self.peer.fileno() < 0 or self.peer_gone or self.peer_saw_end
        return bool(self.losses) and gone

    def check_end(self):
        cut = (self.aborted or self.file_cut or self.losses != [None]
               or self.peer_gone)
        check(cut or self.arrived == self.written, "bytes are missing", self)

    def forget(self):
        """Let go of everything; returns the transport."""
        transport, self.transport = self.transport, None
        # An error of a sendfile() holds its frames, and these the transport.
        self.losses = []
        return transport


ACTIONS = {
    "write": Connection.write,
    "write bytearray": lambda self, size: self.write(size, bytearray),
    "write much": lambda self, size: self.write(MUCH),
    "writelines": Connection.writelines,
    "pause": lambda self, size: self.transport.pause_reading(),
    "resume": lambda self, size: self.transport.resume_reading(),
    "set_protocol": Connection.set_protocol,
    "close": Connection.close,
    "abort": Connection.abort,
    "write_eof": Connection.write_eof,
    "sendfile": Connection.sendfile,
    "limits": Connection.limits,
    "buffer size": lambda self, size: self.transport.get_write_buffer_size(),
    "get_extra_info": lambda self, size: self.transport.get_extra_info("socket"),
    "raise": Connection.boom,
    "interrupt": Connection.interrupt,
    "stop": lambda self, size: self.world.loop.stop(),
    "soon": Connection.soon,
    "peer sends": Connection.peer_sends,
    "peer floods": Connection.peer_floods,
    "peer reads": Connection.peer_reads,
    "peer half-closes": Connection.peer_half_closes,
    "peer resets": Connection.peer_resets,
    "peer closes": Connection.peer_closes,
}
ALWAYS = ("raise", "interrupt", "stop", "soon")


class Ends:
    """What both kinds of protocols do."""

    def __init__(self, connection):
        self.connection = connection

    def connection_made(self, transport):
        self.connection.transport = transport
        self.connection.called("connection_made")

    def connection_lost(self, exc):
        self.connection.losses.append(exc)
        self.connection.called("connection_lost")

    def pause_writing(self):
        check(not self.connection.writing_paused, "pause_writing twice")
        self.connection.writing_paused = True
        self.connection.called("pause_writing")

    def resume_writing(self):
        check(self.connection.writing_paused, "resume_writing unasked")
        self.connection.writing_paused = False
        self.connection.called("resume_writing")

    def eof_received(self):
        self.connection.called("eof_received")
        return self.connection.wanted["keep_open"]


class Plain(Ends, asyncio.Protocol):
    def data_received(self, data):
        self.connection.received(data)
        self.connection.called("data")


class Buffered(Ends, asyncio.BufferedProtocol):
    def __init__(self, connection):
        super().__init__(connection)
        self.buffer = bytearray(5000)

    def get_buffer(self, sizehint):
        self.connection.called("get_buffer")
        return self.buffer

    def buffer_updated(self, nbytes):
        self.connection.received(memoryview(self.buffer)[:nbytes])
        self.connection.called("data")


PROTOCOLS = {"plain": Plain, "buffered": Buffered}
