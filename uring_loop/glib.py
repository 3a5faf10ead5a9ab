"""The public name of uring_loop.guest.glib: the same module object."""

import sys

from uring_loop.guest import glib

sys.modules[__name__] = glib
