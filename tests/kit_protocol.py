"""What every stream transport owes its protocol, and what it says of itself."""

import io
import socket

from .kit import MUCH, Lax, fill, finish, stream
from .parity import certificates
from .parity.endpoints import Recorder, pattern, settle
from .parity.rigs import SOCKETS, TLS, TWO_WAY

INFO = ("socket", "sockname", "peername", "pipe", "subprocess", "sslcontext",
        "ssl_object", "cipher", "compression", "peercert", "unknown")


@stream()
async def extra_info(rig, trace):
    for protocol in rig.ends:
        transport = protocol.transport
        for name in INFO:
            value = transport.get_extra_info(name)
            if isinstance(value, tuple) and name.endswith("name"):
                value = [type(item) for item in value]
            elif not isinstance(value, (str, bytes, tuple)):
                value = value is not None
            trace(name, value)
        trace("default", transport.get_extra_info("unknown", "a default"))
    await finish(rig)
    for name in ("socket", "pipe", "unknown"):
        trace(name, rig.reader.get_extra_info(name) is not None)


@stream(*TWO_WAY)
async def the_socket_tells_its_options(rig, trace):
    sock = rig.writer.get_extra_info("socket")
    trace("socket", sock.family, sock.type, sock.gettimeout(), sock.fileno() >= 0)
    if sock.family == socket.AF_INET:
        trace("delay", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0)
    await finish(rig)
    trace("closed", sock.fileno())


@stream()
async def repr_and_is_closing_work_in_every_state(rig, trace):
    def look(label):
        for protocol in rig.ends:
            transport = protocol.transport
            trace(label, repr(transport)[0], transport.is_closing())

    look("open")
    rig.reader.pause_reading()
    rig.far.stalls()
    rig.writer.write(pattern(MUCH))
    look("paused and full")
    for protocol in rig.ends:
        protocol.transport.close()
    look("closing")
    getattr(rig.writer, "abort")()
    await rig.over()
    look("over")


@stream(*TWO_WAY, "pipe")
async def protocols_may_be_exchanged(rig, trace):
    first = rig.reading
    trace("get", rig.reader.get_protocol() is first)
    await rig.far.sends(b"for the first")
    await first.receives(13)
    rig.reading = Recorder(trace.lane("second"))
    rig.reading.transport = first.transport
    if rig.writing is first:
        rig.writing = rig.reading
    first.transport.set_protocol(rig.reading)
    trace("get", first.transport.get_protocol() is rig.reading)
    await rig.far.sends(b"for the second")
    await rig.reading.receives(14)
    await finish(rig)


@stream("pipe")
async def the_protocol_of_a_writer_may_be_exchanged(rig, trace):
    first = rig.writing
    rig.writing = Recorder(trace.lane("second"))
    rig.writing.transport = first.transport
    first.transport.set_protocol(rig.writing)
    trace("get", first.transport.get_protocol() is rig.writing)
    fill(rig)
    rig.writer.abort()
    await rig.writing.happens("connection_lost")


class HandsOver(Recorder):
    """Gives the connection to another protocol from within data_received."""

    def data_received(self, data):
        super().data_received(data)
        self.next.transport = self.transport
        self.transport.set_protocol(self.next)


@stream(*TWO_WAY, "pipe", near=HandsOver)
async def data_received_may_exchange_the_protocol(rig, trace):
    first = rig.reading
    first.next = Recorder(trace.lane("second"))
    await rig.far.sends(b"for the first")
    await first.receives(13)
    await rig.far.sends(b"for the second")
    await first.next.receives(14)
    first.transport.close()
    await first.next.happens("connection_lost")
    rig.reading = first.next
    if rig.writing is first:
        rig.writing = first.next
    await finish(rig)


# ---- protocols that raise ---------------------------------------------------------


def raising(name, base=Lax):
    """A protocol whose method `name` raises, after it has said what happened."""

    def method(self, *args):
        getattr(base, name)(self, *args)
        raise ValueError(f"broken {name}")

    return type(f"Raising_{name}", (base,), {name: method})


# Over TLS it comes out of the loop's own connecting, see test_tls_ends.py.
@stream(*SOCKETS, "pipe", near=raising("connection_made"))
async def connection_made_that_raises(rig, trace):
    await settle(rig.loop)
    trace("closing", rig.writer.is_closing())


@stream(near=raising("data_received"))
async def data_received_that_raises(rig, trace):
    await rig.far.sends(b"x")
    await rig.reading.receives(1)
    await settle(rig.loop)
    trace("closing", rig.reader.is_closing())


@stream(near=raising("eof_received"))
async def eof_received_that_raises(rig, trace):
    await rig.far.ends()
    await rig.reading.happens("connection_lost")


@stream(near=raising("pause_writing"))
async def pause_writing_that_raises(rig, trace):
    written = fill(rig)
    trace("closing", rig.writer.is_closing())
    trace("far got", await rig.far.reads(written))
    await finish(rig)


@stream(near=raising("resume_writing"))
async def resume_writing_that_raises(rig, trace):
    written = fill(rig)
    trace("far got", await rig.far.reads(written))
    await rig.writing.happens("resume_writing")
    await finish(rig)


@stream(near=raising("connection_lost"))
async def connection_lost_that_raises(rig, trace):
    for protocol in rig.ends:
        protocol.transport.close()
    await rig.over()
    await settle(rig.loop)


# ---- what the loop does with a transport ------------------------------------------


@stream()
async def sendfile_sends_or_refuses(rig, trace):
    file = io.BytesIO(pattern(100_000))
    sent = await trace.wait("sendfile", rig.loop.sendfile(rig.writer, file))
    trace("position", file.tell())
    if sent:
        trace("far got", await rig.far.reads(sent))
    await finish(rig)
    await trace.wait("after the end", rig.loop.sendfile(rig.writer, file))


@stream(*SOCKETS, "pipe")
async def start_tls_refuses_what_is_no_plain_stream(rig, trace):
    wrong = rig.loop.start_tls(rig.writer, rig.writing, None)
    await trace.wait("no context", wrong)
    if rig.kind == "pipe":
        context = certificates.client_context()
        await trace.wait("a pipe", rig.loop.start_tls(rig.writer, rig.writing, context))


@stream(*TLS)
async def tls_tells_how_it_is_secured(rig, trace):
    ssl_object = rig.writer.get_extra_info("ssl_object")
    trace("version", ssl_object.version(), ssl_object.server_side)
    trace("context", rig.writer.get_extra_info("sslcontext") is ssl_object.context)
    trace("cipher", rig.writer.get_extra_info("cipher") == ssl_object.cipher())
    await finish(rig)


@stream(*SOCKETS)
async def a_second_transport_on_the_descriptor_is_refused(rig, trace):
    number = rig.reader.get_extra_info("socket").fileno()
    trace.call_class("add_reader", rig.loop.add_reader, number, print)
    trace.call_class("add_writer", rig.loop.add_writer, number, print)
    trace.call_class("remove_reader", rig.loop.remove_reader, number)
    await rig.far.sends(b"undisturbed")
    await rig.reading.receives(11)
    await finish(rig)
