"""Signals while the loop has other things to do: none is lost."""

import asyncio
import os
import signal
import threading

from ..parity.endpoints import Recorder, joined
from ..parity.framework import open_fds
from ..parity.tracing import Lane

SIGNALS = 10_000
# The socket pair behind set_wakeup_fd takes a few hundred bytes that are not read yet.
AT_A_TIME = 100
CHILDREN = 20
QUEUED, ORDINARY = signal.SIGRTMIN + 3, signal.SIGUSR1


class Echo(Recorder):
    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)


class Chatter(Recorder):
    """Keeps some bytes on their way."""

    def connection_made(self, transport):
        super().connection_made(transport)
        transport.write(bytes(1000))

    def data_received(self, data):
        super().data_received(data)
        self.transport.write(data)


class Sender(threading.Thread):
    """Sends signals to the process, some at a time, when those before were heard."""

    def __init__(self, number, total):
        super().__init__()
        self.number, self.total = number, total
        self.heard = threading.Semaphore(0)

    def run(self):
        for _ in range(self.total // AT_A_TIME):
            for _ in range(AT_A_TIME):
                os.kill(os.getpid(), self.number)
            for _ in range(AT_A_TIME):
                self.heard.acquire()


def test_every_queued_signal_is_heard_under_traffic(loop, run):
    async def main():
        over = loop.create_future()
        sender = Sender(QUEUED, SIGNALS)

        def heard():
            sender.heard.release()
            count.append(None)
            if len(count) == SIGNALS:
                over.set_result(None)

        count = []
        loop.add_signal_handler(QUEUED, heard)
        server, client = Echo(Lane()), Chatter(Lane())
        async with joined(loop, "tcp", server, client):
            sender.start()
            await over
            sender.join()
            assert client.received_bytes > 0
        loop.remove_signal_handler(QUEUED)
        return len(count)

    assert run(main()) == SIGNALS


def test_the_last_of_many_ordinary_signals_is_heard(loop, run):
    """They merge on their way, but never into nothing."""
    async def main():
        heard = asyncio.Event()
        loop.add_signal_handler(ORDINARY, heard.set)
        for number in range(1, 1000):
            for _ in range(number % 7 + 1):
                os.kill(os.getpid(), ORDINARY)
            await heard.wait()
            heard.clear()
        loop.remove_signal_handler(ORDINARY)

    run(main())


def test_signals_from_a_thread_end_every_sleep(loop, run):
    async def main():
        heard = asyncio.Event()
        loop.add_signal_handler(ORDINARY, heard.set)
        for _ in range(300):
            thread = threading.Thread(target=os.kill, args=(os.getpid(), ORDINARY))
            thread.start()
            await heard.wait()
            heard.clear()
            thread.join()
        loop.remove_signal_handler(ORDINARY)

    run(main())


def test_signals_and_children_at_once(loop, run):
    async def main():
        count = 0

        def heard():
            nonlocal count
            count += 1

        loop.add_signal_handler(QUEUED, heard)
        processes = [await asyncio.create_subprocess_exec(
            "sh", "-c", f"kill -{int(QUEUED)} {os.getpid()}; exit 3")
            for _ in range(CHILDREN)]
        codes = await asyncio.gather(*(process.wait() for process in processes))
        while count < CHILDREN:
            await asyncio.sleep(0)
        loop.remove_signal_handler(QUEUED)
        return codes

    assert run(main()) == [3] * CHILDREN


def test_a_handler_that_adds_and_removes_itself(loop, run):
    async def main():
        over = loop.create_future()
        left = 200

        def heard():
            nonlocal left
            left -= 1
            loop.remove_signal_handler(ORDINARY)
            if left:
                loop.add_signal_handler(ORDINARY, heard)
                os.kill(os.getpid(), ORDINARY)
            else:
                over.set_result(None)

        loop.add_signal_handler(ORDINARY, heard)
        os.kill(os.getpid(), ORDINARY)
        await over

    run(main())


def test_loops_give_the_wakeup_descriptor_back(loop):
    before = open_fds()
    for _ in range(50):
        loop.run_until_complete(asyncio.sleep(0))
        assert signal.set_wakeup_fd(-1) == -1
    assert open_fds() == before
