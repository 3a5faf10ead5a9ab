"""Types of uring_loop.gunicorn. The bases are uvicorn_worker's, which has no types."""

from typing import Any

__all__ = ["UvicornH11Worker", "UvicornWorker"]

class UvicornWorker:
    CONFIG_KWARGS: dict[str, Any]
    def __init__(self, *args: Any, **kwargs: Any) -> None: ...
    def run(self) -> None: ...

class UvicornH11Worker(UvicornWorker): ...
