"""Types of uring_loop.files."""

from uring_loop.files.opening import aligned_buffer as aligned_buffer
from uring_loop.files.opening import copyfile as copyfile
from uring_loop.files.opening import open as open
from uring_loop.files.opening import read_bytes as read_bytes
from uring_loop.files.opening import read_text as read_text
from uring_loop.files.opening import write_bytes as write_bytes
from uring_loop.files.opening import write_text as write_text

__all__ = ["aligned_buffer", "copyfile", "open", "read_bytes", "read_text",
           "write_bytes", "write_text"]
