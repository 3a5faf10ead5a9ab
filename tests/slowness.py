"""How long a test waits for what must happen, and how much longer on slow machines.

Nothing here is asserted to be fast: these times end a test that hangs.
URING_TESTS_SLOWNESS=5 makes all of them five times as long, also those of children:
emulated machines and builds with checks need that, busy machines do not.
"""

import os

SLOWNESS = float(os.environ.get("URING_TESTS_SLOWNESS", 1))
# A whole test: one that computes for 10 s takes 250 s beside 50 busy processes.
DEADLINE_SECONDS = 600 * SLOWNESS
# One step of a test, however many processes share the processors.
PATIENCE_SECONDS = 60 * SLOWNESS
