"""One HTTP address served by several IOThreads, each with a loop and a ring of its own.

    python examples/sharded_server.py --threads 2
    curl http://127.0.0.1:8008/
    wrk -t 2 -c 64 -d 5 http://127.0.0.1:8008/

Every answer names its thread. The kernel distributes the connections (SO_REUSEPORT);
with --path, a Unix socket, or --hand-over, one thread accepts and hands them out.
Ctrl-C stops the server; open connections have a second to end.

On a CPython with a GIL the threads take turns, so they do not answer more requests a
second than one would; on a free-threaded build each runs on its own core.
"""

import argparse
import asyncio
import collections
import json
import threading

import uring_loop


class Http(asyncio.Protocol):
    """The part of HTTP/1.1 that curl and wrk need: GET, keep-alive, pipelining."""

    served: collections.Counter[str] = collections.Counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.unread = b""
        self.thread = threading.current_thread().name
        body = json.dumps({
            "thread": self.thread,
            "backend": getattr(asyncio.get_running_loop(), "backend", None),
        }).encode() + b"\n"
        self.answer = (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                       b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def data_received(self, data: bytes) -> None:
        *requests, self.unread = (self.unread + data).split(b"\r\n\r\n")
        self.served[self.thread] += len(requests)
        self.transport.write(self.answer * len(requests))


def main(options: argparse.Namespace) -> None:
    with uring_loop.IOThreadGroup(options.threads, "shard") as group:
        if options.path:
            future = group.create_server(Http, path=options.path)
        else:
            future = group.create_server(
                Http, options.host, options.port,
                reuse_port=False if options.hand_over else None)
        print(f"serving: {future.result()}", flush=True)
        try:
            group.join()
        except KeyboardInterrupt:
            group.stop(grace_seconds=1)
            group.join()
    print("served:", dict(sorted(Http.served.items())))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8008)
    parser.add_argument("--path", help="of a Unix socket, instead of host and port")
    parser.add_argument("--hand-over", action="store_true")
    main(parser.parse_args())
