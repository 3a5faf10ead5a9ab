from uring_loop.guest.hosts import *
