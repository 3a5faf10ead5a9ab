"""Shrinks a failing list of steps by leaving out parts (delta debugging)."""


def shrink(steps, fails, tries=200):
    """The shortest list found for which fails(list) is true; steps[0] stays."""
    first, rest = steps[:1], steps[1:]
    size = max(len(rest) // 2, 1)
    while tries > 0 and rest:
        at, shorter = 0, False
        while at < len(rest) and tries > 0:
            candidate = rest[:at] + rest[at + size:]
            tries -= 1
            if fails(first + candidate):
                rest, shorter = candidate, True
            else:
                at += size
        if size == 1 and not shorter:
            break
        size = max(size // 2, 1)
    return first + rest
