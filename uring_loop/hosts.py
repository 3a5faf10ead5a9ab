"""The public name of uring_loop.guest.hosts: the same module object."""

import sys

from uring_loop.guest import hosts

sys.modules[__name__] = hosts
