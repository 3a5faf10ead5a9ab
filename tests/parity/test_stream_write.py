"""What may be written: types, shapes, sizes; and whose memory it is afterwards."""

import array

import pytest

from .endpoints import (
    FAMILIES,
    Recorder,
    in_thread,
    pattern,
    read_exactly,
    read_to_end,
    wired,
)
from .framework import parity, promise

BIG = 4 << 20

every_family = pytest.mark.parametrize("family", FAMILIES)


async def close_and_read(loop, transport, protocol, peer):
    """End the stream, and return all that came out at the other end."""
    transport.close()
    received, error = await in_thread(loop, read_to_end, peer)
    assert error is None
    await protocol.happens("connection_lost")
    peer.close()
    return received


GOOD = {
    "bytes": b"plain bytes",
    "bytearray": bytearray(b"a bytearray"),
    "memoryview": memoryview(b"a view of bytes"),
    "offset view": memoryview(b"a view of bytes")[2:6],
    "view of a bytearray": memoryview(bytearray(b"a bytearray"))[3:],
    "cast view": memoryview(array.array("I", [1, 2, 3, 4])),
    "two dimensions": memoryview(bytes(range(12))).cast("B", (3, 4)),
    "empty bytes": b"",
    "empty bytearray": bytearray(),
    "empty view": memoryview(b""),
}


@pytest.mark.parametrize("name", GOOD)
@every_family
@parity
async def test_every_kind_of_buffer_is_written(loop, trace, family, name):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    trace.call("write", transport.write, GOOD[name])
    trace("left", transport.get_write_buffer_size())
    trace("peer got", await close_and_read(loop, transport, protocol, peer))


WRONG = {
    "text": "text",
    "none": None,
    "number": 7,
    "list": [1, 2],
    "list of bytes": [b"x"],
    "array": array.array("B", [1, 2]),
    "object": object(),
}


@pytest.mark.parametrize("name", WRONG)
@parity
async def test_everything_else_is_refused(loop, trace, name):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    trace.call("write", transport.write, WRONG[name])
    transport.write(b"the connection lives")
    transport.close()
    trace.call("after close", transport.write, WRONG[name])
    await protocol.happens("connection_lost")
    trace.call("after the end", transport.write, WRONG[name])
    trace("peer got", await close_and_read(loop, transport, protocol, peer))


@parity
async def test_write_wants_exactly_one_argument(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    trace.call_class("nothing", transport.write)
    trace.call_class("two", transport.write, b"x", b"y")
    trace.call_class("lines nothing", transport.writelines)
    trace.call("by name", lambda: transport.write(data=b"named"))
    trace.call("lines by name", lambda: transport.writelines(list_of_data=[b" lines"]))
    trace("peer got", await close_and_read(loop, transport, protocol, peer))


@parity
async def test_a_view_with_gaps(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    trace.call("write", transport.write, memoryview(b"abcdefgh")[::2])
    trace("peer got", await close_and_read(loop, transport, protocol, peer))


@parity
async def test_a_released_view(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    view = memoryview(b"released")
    view.release()
    trace.call("write", transport.write, view)
    trace("peer got", await close_and_read(loop, transport, protocol, peer))


LINES = {
    "list": [b"one ", b"two ", b"three"],
    "tuple": (b"one ", bytearray(b"two "), memoryview(b"three")),
    "empty list": [],
    "empty between": [b"one ", b"", b"two"],
    "many": [b"%d " % n for n in range(3000)],
    "one": [b"single"],
    "bytes": [b"x" * 70000, b"y" * 70000],
}


@pytest.mark.parametrize("name", LINES)
@every_family
@parity
async def test_writelines_joins(loop, trace, family, name):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    trace.call("writelines", transport.writelines, LINES[name])
    transport.write(b" and after")
    trace("peer got", await close_and_read(loop, transport, protocol, peer))


@parity
async def test_writelines_takes_a_generator(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    trace.call("writelines", transport.writelines, (b"%d" % n for n in range(10)))
    trace("peer got", await close_and_read(loop, transport, protocol, peer))


WRONG_LINES = {
    "text": ["text"],
    "mixed": ["bad", b"good"],
    "number": 7,
    "numbers": [1, 2],
}


@pytest.mark.parametrize("name", WRONG_LINES)
@parity
async def test_writelines_refuses(loop, trace, name):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    call = trace.call_class if name == "number" else trace.call
    call("writelines", transport.writelines, WRONG_LINES[name])
    transport.write(b"the connection lives")
    trace("peer got", await close_and_read(loop, transport, protocol, peer))


@promise
async def test_writelines_sends_nothing_before_a_wrong_line(loop, trace):
    """asyncio of 3.15 keeps that for ever, and close() waits for it."""
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    with pytest.raises(TypeError):
        transport.writelines([b"good", "bad"])
    assert transport.get_write_buffer_size() == 0
    transport.write(b"the connection lives")
    got = await close_and_read(loop, transport, protocol, peer)
    assert got == b"the connection lives"


@parity
async def test_writelines_behind_a_full_buffer(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    data = pattern(BIG)
    transport.write(data)
    transport.writelines([b"one ", b"two ", b"three"])
    transport.write(b" four")
    reading = in_thread(loop, read_exactly, peer, BIG)
    trace("the big part", await reading == data)
    trace("peer got", await close_and_read(loop, transport, protocol, peer))


@every_family
@parity
async def test_small_writes_keep_their_order(loop, trace, family):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    for number in range(2000):
        transport.write(b"%d " % number)
    trace("peer got", await close_and_read(loop, transport, protocol, peer))


@every_family
@parity
async def test_writes_of_all_sizes_keep_their_order(loop, trace, family):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    transport.set_write_buffer_limits(high=BIG)  # pauses would be timing here
    reading = in_thread(loop, read_to_end, peer)
    for seed in range(60):
        transport.write(pattern(seed * seed * 40 + 1, seed))
    transport.close()
    received, error = await reading
    trace("peer got", received, error)
    await protocol.happens("connection_lost")
    peer.close()


@every_family
@parity
async def test_ten_mebibytes_to_a_slow_reader(loop, trace, family):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    data = pattern(10 << 20)
    transport.write(data)
    trace("pending", transport.get_write_buffer_size() > 0)
    received = b""
    for _ in range(20):
        # Every piece is read while the loop writes nothing else.
        received += await in_thread(loop, read_exactly, peer, 100_000)
    transport.close()
    rest, error = await in_thread(loop, read_to_end, peer)
    trace("whole", received + rest == data, error)
    await protocol.happens("connection_lost")
    peer.close()


def spoil_by_mutation(data):
    data[:] = bytes(len(data))


def spoil_by_resizing(data):
    data.clear()
    data.extend(b"other content")


SPOILERS = {"mutated": spoil_by_mutation, "resized": spoil_by_resizing}


@pytest.mark.parametrize("spoiler", SPOILERS)
@pytest.mark.parametrize("size", [10, 1000, 100_000, BIG])
@every_family
@promise
async def test_a_bytearray_is_the_callers_again(loop, trace, family, size, spoiler):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, family, protocol)
    filler, data = pattern(BIG, 7), bytearray(pattern(size))
    transport.write(filler)  # so that the next write cannot go out at once
    expected = filler + bytes(data)
    transport.write(data)
    SPOILERS[spoiler](data)
    assert await close_and_read(loop, transport, protocol, peer) == expected


@pytest.mark.parametrize("size", [10, 100_000, BIG])
@promise
async def test_a_first_write_is_the_callers_again(loop, trace, size):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    data = bytearray(pattern(size))
    expected = bytes(data)
    transport.write(data)
    spoil_by_mutation(data)
    spoil_by_resizing(data)
    assert await close_and_read(loop, transport, protocol, peer) == expected


@pytest.mark.parametrize("cut", [slice(0, None), slice(5, None), slice(100, -100)])
@pytest.mark.parametrize("item", ["B", "I", "Q"])
@promise
async def test_a_view_is_the_callers_again(loop, trace, item, cut):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    memory = bytearray(pattern(BIG))
    view = memoryview(memory).cast(item)[cut]
    expected = bytes(view)
    transport.write(view)
    view.release()
    spoil_by_mutation(memory)
    memory.clear()
    assert await close_and_read(loop, transport, protocol, peer) == expected


@promise
async def test_lines_are_the_callers_again(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    lines = [bytearray(pattern(BIG // 4, seed)) for seed in range(4)]
    lines.append(memoryview(bytearray(b"a view at the end")))
    expected = b"".join(lines)
    transport.writelines(lines)
    for line in lines[:4]:
        spoil_by_mutation(line)
        line.clear()
    lines[4][:] = bytes(len(lines[4]))
    lines.clear()
    assert await close_and_read(loop, transport, protocol, peer) == expected


@promise
async def test_lines_of_nothing_are_nothing(loop, trace):
    """asyncio's 3.13.0 asserts on an empty generator, and fails after the end."""
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.writelines(b"" for _ in range(0))
    transport.write(b"through")
    assert await close_and_read(loop, transport, protocol, peer) == b"through"
    transport.writelines([b"too late"])


@promise
async def test_an_empty_line_does_not_stall_the_stream(loop, trace):
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.writelines([b""])
    transport.writelines([b"", b""])
    transport.write(b"through")
    assert await close_and_read(loop, transport, protocol, peer) == b"through"


@promise
async def test_a_write_is_with_the_kernel_when_it_returns(loop, trace):
    """A blocking read in the same callback must not wait for the loop."""
    protocol = Recorder(trace.lane("client"))
    transport, peer = await wired(loop, "tcp", protocol)
    transport.write(b"at once")
    assert read_exactly(peer, 7) == b"at once"
    assert await close_and_read(loop, transport, protocol, peer) == b""
