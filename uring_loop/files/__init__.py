"""Files: operations on the ring or in threads, and the file objects built on them."""

from uring_loop.files.opening import (
    aligned_buffer, copyfile, open, read_bytes, read_text, write_bytes, write_text)

__all__ = ["aligned_buffer", "copyfile", "open", "read_bytes", "read_text",
           "write_bytes", "write_text"]
