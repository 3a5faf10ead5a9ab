from uring_loop.files.fs import *
