"""A worker class of gunicorn that serves ASGI applications by uvicorn on our loop.

    gunicorn -k uring_loop.gunicorn.UvicornWorker app:app

install() does not reach uvicorn's own worker class: it names its loop, which is
uvloop's where that is installed. Needs uvicorn-worker, or a uvicorn that still has
uvicorn.workers.
"""

try:
    import uvicorn_worker as workers
except ImportError:
    from uvicorn import workers

__all__ = ["UvicornH11Worker", "UvicornWorker"]

LOOP = "uring_loop:new_event_loop"


class UvicornWorker(workers.UvicornWorker):
    """uvicorn's worker on a Loop; URING_LOOP_BACKEND chooses the driver."""

    CONFIG_KWARGS = {**workers.UvicornWorker.CONFIG_KWARGS, "loop": LOOP}


class UvicornH11Worker(workers.UvicornH11Worker):
    """The same with uvicorn's HTTP parser in Python."""

    CONFIG_KWARGS = {**workers.UvicornH11Worker.CONFIG_KWARGS, "loop": LOOP}
