from uring_loop.guest.glib import *
