"""How much longer each deadline of a test is: emulated machines, builds with checks.

URING_TESTS_SLOWNESS=5 makes all deadlines five times as long, also those of children.
"""

import os

SLOWNESS = float(os.environ.get("URING_TESTS_SLOWNESS", 1))
