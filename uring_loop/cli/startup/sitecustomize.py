"""Puts our loops in at the start of a Python that `python -m uring_loop run` started.

Python imports a module of this name at its start. Any version of Python may, as a child
of such a program: so this file is simple, and does nothing in another than ours.
"""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# The folder that holds the package uring_loop, which need not be installed.
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))


def is_ours():
    """Can this Python load the compiled modules of the one that `run` ran in?"""
    import importlib.machinery

    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    return suffix == os.environ.get("URING_LOOP_RUN")


def put_loops_in():
    # At the end: nothing in that folder may hide a module of the standard library.
    sys.path.append(ROOT)
    try:
        from uring_loop.cli import everywhere
    finally:
        sys.path.remove(ROOT)
    everywhere.put_in()


def hand_on():
    """Import the sitecustomize of the environment, which this one hides."""
    mine = sys.modules.pop(__name__)
    # As if PYTHONPATH had not been changed. Entries may be spelled in other ways.
    sys.path[:] = [p for p in sys.path if os.path.abspath(p) != HERE]
    try:
        import sitecustomize  # noqa: F401
    except ImportError as exc:
        if exc.name != "sitecustomize":
            raise
    finally:
        # The import of this module ends by looking itself up.
        sys.modules.setdefault(__name__, mine)


try:
    if is_ours():
        put_loops_in()
finally:
    hand_on()
