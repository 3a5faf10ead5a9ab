"""A loop moves to another thread while completions are pending that change the loop.

What the old thread's ring had completed is handed out in the middle of the move. Such a
completion may make the loop's first pool of buffers, raise KeyboardInterrupt, or start
and end other operations. Each test runs in a child, so that a crash is seen as one.
"""

import pytest

from ..stress import children
from . import kit

PRELUDE = """
import threading, time
loop = new_loop()

class Recorder(asyncio.Protocol):
    def __init__(self, act=lambda protocol: None):
        self.got = b""
        self.act = act
        self.over = False
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.got += data
        self.act(self)
    def connection_lost(self, exc):
        self.over = True

def connect(act=lambda protocol: None):
    near, far = socket.socketpair()
    far.settimeout(PATIENCE_SECONDS)
    _, protocol = loop.run_until_complete(
        loop.create_connection(lambda: Recorder(act), sock=near))
    loop.run_until_complete(asyncio.sleep(0))
    return protocol, far

def stop_with(act):
    # What `act` causes is complete for the kernel, and the loop has not heard of it.
    def last():
        act()
        loop.stop()
    loop.call_soon(last)
    loop.run_forever()

def moved(main):
    def run():
        try:
            results.append(loop.run_until_complete(
                asyncio.wait_for(main(), PATIENCE_SECONDS)))
        except BaseException as error:
            results.append(error)
    results = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]

async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)
"""


def run(code, loop_name):
    words = children.run(PRELUDE + code + """
loop.run_until_complete(asyncio.sleep(0))
print("over", flush=True)
""", loop_name)
    assert words == ["over"]


@kit.every_name
def test_a_completion_that_makes_the_first_pool(loop_name):
    """The stream has paused from the start; a user's socket lets it read."""
    run("""
near, far = socket.socketpair()
one, two = socket.socketpair()
one.setblocking(False)

class Paused(Recorder):
    def connection_made(self, transport):
        super().connection_made(transport)
        transport.pause_reading()

async def begin():
    await loop.create_connection(lambda: protocol, sock=near)
    async def resume():
        assert await loop.sock_recv(one, 10) == b"go"
        protocol.transport.resume_reading()
    task = asyncio.ensure_future(resume())
    await asyncio.sleep(0.01)
    return task

protocol = Paused()
task = loop.run_until_complete(begin())
stop_with(lambda: (two.send(b"go"), far.send(b"first ")))

async def main():
    await task
    await until(lambda: protocol.got == b"first ")
    far.send(b"second")
    await until(lambda: protocol.got == b"first second")
assert moved(main) is None
far.send(b" third")
loop.run_until_complete(until(lambda: protocol.got == b"first second third"))
""", loop_name)


@kit.our_names
@pytest.mark.parametrize("what", ["resumed stream", "new stream", "datagram"])
def test_a_file_that_makes_the_first_pool(loop_name, what):
    run(f"WHAT = {what!r}" + """
import uring_loop
read_end, write_end = os.pipe()
near, far = socket.socketpair()

class Made(Recorder):
    def connection_made(self, transport):
        super().connection_made(transport)
        if WHAT == "resumed stream":
            transport.pause_reading()

protocol = Made()

async def begin():
    if WHAT == "resumed stream":
        await loop.create_connection(lambda: protocol, sock=near)
    file = await uring_loop.open(read_end, "rb", buffering=0)
    async def read():
        assert await file.read(5) == b"hello"
        if WHAT == "resumed stream":
            protocol.transport.resume_reading()
        elif WHAT == "new stream":
            await loop.create_connection(lambda: protocol, sock=near)
        else:
            class Datagrams(asyncio.DatagramProtocol):
                def datagram_received(self, data, address):
                    protocol.got += data
            transport, _ = await loop.create_datagram_endpoint(
                Datagrams, local_addr=("127.0.0.1", 0))
            transport.sendto(b"first", transport.get_extra_info("sockname"))
    task = asyncio.ensure_future(read())
    await asyncio.sleep(0.05)
    return task

far.send(b"first")
task = loop.run_until_complete(begin())
stop_with(lambda: os.write(write_end, b"hello"))

async def main():
    await task
    await until(lambda: protocol.got == b"first")
assert moved(main) is None
""", loop_name)


@pytest.mark.parametrize("error", ["KeyboardInterrupt", "SystemExit"])
@kit.every_name
def test_a_completion_that_interrupts_the_move(loop_name, error):
    run(f"ERROR = {error}" + """
def interrupt(protocol):
    if protocol.got == b"first":
        raise ERROR

pairs = [connect(interrupt if number == 3 else lambda protocol: None)
         for number in range(6)]
stop_with(lambda: [far.send(b"first") for _, far in pairs])
everybody = lambda data: all(protocol.got == data for protocol, _ in pairs)

assert isinstance(moved(lambda: until(lambda: everybody(b"first"))), ERROR)
assert moved(lambda: until(lambda: everybody(b"first"))) is None
for _, far in pairs:
    far.send(b" second")
loop.run_until_complete(until(lambda: everybody(b"first second")))
for protocol, far in pairs:
    protocol.transport.write(b"answer")
    assert far.recv(100) == b"answer"
    protocol.transport.close()
loop.run_until_complete(until(lambda: all(protocol.over for protocol, _ in pairs)))
assert [far.recv(1) for _, far in pairs] == [b""] * 6
""", loop_name)


@pytest.mark.parametrize("end", ["abort", "close", "pause_reading"])
@kit.every_name
def test_a_completion_that_ends_other_operations(loop_name, end):
    run(f"END = {end!r}" + """
def end_others(protocol):
    for other, _ in pairs:
        if other is not protocol and not other.transport.is_closing():
            getattr(other.transport, END)()

pairs = []
pairs += [connect(end_others if number == 2 else lambda protocol: None)
          for number in range(5)]
stop_with(lambda: [far.send(b"first") for _, far in pairs])
ending, far = pairs[2]
assert moved(lambda: until(lambda: ending.got == b"first")) is None
if END == "pause_reading":
    for protocol, _ in pairs:
        protocol.transport.resume_reading()
    assert moved(lambda: until(
        lambda: all(protocol.got == b"first" for protocol, _ in pairs))) is None
else:
    others = [pair for pair in pairs if pair[0] is not ending]
    assert moved(lambda: until(lambda: all(other.over for other, _ in others))) is None
    for _, closed in others:
        try:
            assert closed.recv(1) == b""
        except ConnectionResetError:
            pass        # it had bytes that nobody read
far.send(b" second")
loop.run_until_complete(until(lambda: ending.got == b"first second"))
""", loop_name)


@kit.every_name
def test_a_completion_that_starts_other_operations(loop_name):
    run("""
started = []

async def start_more():
    near, far = socket.socketpair()
    _, protocol = await loop.create_connection(Recorder, sock=near)
    far.send(b"first")
    server = await loop.create_server(Recorder, "127.0.0.1", 0)
    endpoint, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    await until(lambda: protocol.got == b"first")
    endpoint.close()
    server.close()
    started.append(far)

def start(protocol):
    protocol.transport.write(bytes(4 << 20))
    loop.call_later(0.001, tasks.append, None)
    tasks.append(loop.create_task(start_more()))

tasks = []
pairs = [connect(start) for _ in range(3)]
stop_with(lambda: [far.send(b"x") for _, far in pairs])
assert moved(lambda: until(lambda: len(started) == 3 and len(tasks) == 6)) is None

def drain():
    for _, far in pairs:
        left = 4 << 20
        while left:
            left -= len(far.recv(left))
loop.run_until_complete(asyncio.to_thread(drain))
""", loop_name)
