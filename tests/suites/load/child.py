"""One program under load, in a process of its own; started by the parent as a script.

A server prints its port and serves until its input ends. A client works until its time
is over and prints how much it did. Any error ends the process with a traceback.
"""

import asyncio
import json
import sys
import time

import clients
import servers


def main():
    name, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    failures = []
    loop_factory = asyncio.new_event_loop
    if sys.argv[4] == "uring_loop":
        import uring_loop

        loop_factory = uring_loop.new_event_loop
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        say(backend=getattr(loop, "backend", "asyncio"))
        if not port:
            runner.run(serve(servers.SERVERS[name]))
        else:
            done = runner.run(work(clients.CLIENTS[name], port, seconds))
            say(done=done)
    if failures:
        sys.exit(f"the loop's exception handler was called: {failures[:3]}")


async def serve(start):
    """Serve until the parent closes our input."""
    async with start() as port:
        say(port=port)
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        await reader.read()


async def work(client, port, seconds):
    """Run the client's tasks until the time is over; returns how often they worked."""
    deadline = time.monotonic() + seconds
    counts = await client(port, lambda: time.monotonic() < deadline)
    return sum(counts)


def say(**facts):
    print(json.dumps(facts), flush=True)


if __name__ == "__main__":
    main()
