"""A folder served by aiohttp, its files read by uring_loop.open().

    python examples/static_files.py --folder /usr/share/doc
    curl http://127.0.0.1:8080/README
    curl -H "Range: bytes=0-99" http://127.0.0.1:8080/README

On io_uring the loop's own ring reads the files, on epoll a thread does. The data passes
through Python, so that a program could change it.
"""

import argparse
import mimetypes
import os

from aiohttp import web

import uring_loop
from uring_loop.files.opening import BinaryFile

CHUNK_BYTES = 256 * 1024


def make_app(folder: str) -> web.Application:
    root = uring_loop.Path(os.path.realpath(folder))

    async def serve(request: web.Request) -> web.StreamResponse:
        # resolve() looks at each link: one call in a thread.
        path = await (root / request.match_info["path"]).resolve()
        if not path.is_relative_to(root) or not await path.is_file():
            raise web.HTTPNotFound
        async with path.open("rb", buffering=0) as file:
            return await send(request, file, (await file.stat()).st_size)

    app = web.Application()
    app.router.add_get("/{path:.+}", serve)
    return app


async def send(request: web.Request, file: BinaryFile,
               size: int) -> web.StreamResponse:
    try:
        begin, end, _ = request.http_range.indices(size)
    except ValueError:
        raise web.HTTPRequestRangeNotSatisfiable from None
    response = web.StreamResponse(headers={"Accept-Ranges": "bytes"})
    response.content_type = mimetypes.guess_type(str(file.name))[0] or (
        "application/octet-stream")
    response.content_length = max(end - begin, 0)
    if "Range" in request.headers:
        response.set_status(206)
        response.headers["Content-Range"] = f"bytes {begin}-{end - 1}/{size}"
    await response.prepare(request)
    while begin < end:
        data = await file.pread(min(CHUNK_BYTES, end - begin), begin)
        if not data:
            raise ConnectionResetError("the file was cut while it was sent")
        await response.write(data)
        begin += len(data)
    await response.write_eof()
    return response


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--folder", default=".")
    options = parser.parse_args()
    web.run_app(make_app(options.folder), host=options.host, port=options.port,
                loop=uring_loop.new_event_loop())
