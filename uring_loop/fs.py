"""The public name of uring_loop.files.fs: the same module object."""

import sys

from uring_loop.files import fs

sys.modules[__name__] = fs
