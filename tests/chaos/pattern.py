"""A stream of bytes in which each place is known, so that order can be checked."""

import random

# A prime: no power of two in the code under test hides a shift by a whole period.
PERIOD = 65521
BYTES = random.Random(1).randbytes(PERIOD)
REPEATED = BYTES * 9


def piece(offset, size):
    """`size` bytes of the stream from this offset on."""
    start = offset % PERIOD
    if start + size <= len(REPEATED):
        return REPEATED[start:start + size]
    return (BYTES * ((start + size) // PERIOD + 1))[start:start + size]
