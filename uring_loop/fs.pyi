from uring_loop.files.fs import *
from uring_loop.files.fs import __all__ as __all__
