"""Two owners of one listening socket: processes or threads, each with its own loop.

Run as a program by test_workers.py: `owners.py KIND LOOP`. It says the port, then
"ready" for each owner, and "blocked" when an owner blocks. Each connection may ask:
    name    the owner's name comes back
    block   the owner blocks in this very callback until the owner's gate opens
"""

import asyncio
import multiprocessing
import os
import socket
import sys
import threading


def new_loop(name):
    if name == "stock":
        return asyncio.SelectorEventLoop()
    import uring_loop
    return uring_loop.new_event_loop(backend=name)


def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Owner(asyncio.Protocol):
    def __init__(self, name, gate):
        self.name = name
        self.gate = gate

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if data == b"name":
            self.transport.write(self.name.encode())
        elif data == b"block":
            say("blocked", self.name)
            self.gate.recv(1)
            self.transport.write(b"over")


def serve(name, loop_name, listener, gate):
    loop = new_loop(loop_name)
    loop.run_until_complete(loop.create_server(
        lambda: Owner(name, gate), sock=listener))
    say("ready", name)
    loop.run_forever()


def main(kind, loop_name):
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    gates = [socket.socketpair() for _ in range(2)]
    say("port", listener.getsockname()[1])
    for number, (_, gate) in enumerate(gates):
        if kind == "threads":
            args = f"owner{number}", loop_name, listener.dup(), gate
            threading.Thread(target=serve, args=args, daemon=True).start()
        else:
            args = f"owner{number}", loop_name, listener, gate
            multiprocessing.get_context(kind).Process(
                target=serve, args=args, daemon=True).start()
    # A line on the standard input opens a gate; its end ends everything.
    for line in sys.stdin:
        gates[int(line)][0].send(b"x")


if __name__ == "__main__":
    main(*sys.argv[1:])
