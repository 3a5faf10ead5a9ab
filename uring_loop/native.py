"""Loads the compiled modules, which share one file: opening one is cheaper than many.

Python finds a compiled module in a file of its own name only. So all are loaded here,
each before the modules that cimport it, and from then on every import finds them in
sys.modules.
"""

import gc
import importlib
import importlib.machinery
import os
import sys

# In this order: tests/contract/test_native.py compares it with the sources.
MODULES = (
    "driver.ring", "driver.buffer_pool", "driver.handover", "scheduler.busy_poll",
    "scheduler.clock", "scheduler.wakeup", "scheduler.handles", "scheduler.timer_heap",
    "scheduler.loop_core", "scheduler.watches",
    "net.address", "net.gather", "net.transport", "net.backlog", "net.tls",
    "net.stream_writer", "net.stream", "net.datagram", "net.listener",
    "net.sock_calls", "net.connect",
    "process.pipes", "files.operations", "guest.guest_core",
)


def shared_object():
    """The path of the file, as the import system would choose it."""
    stem = os.path.join(os.path.dirname(__file__), "_native")
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        if os.path.exists(stem + suffix):
            return stem + suffix
    raise ImportError(
        f"{stem}*.so is missing: the compiled modules of uring_loop have not been "
        f"built for this Python ({sys.implementation.cache_tag})")


def load(name, path):
    """Import one module from the file; an error leaves nothing behind."""
    loader = importlib.machinery.ExtensionFileLoader(name, path)
    spec = importlib.machinery.ModuleSpec(name, loader, origin=path)
    spec.has_location = True
    module = sys.modules[name] = loader.create_module(spec)
    try:
        module.__spec__ = spec
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def load_all():
    # Loading makes thousands of objects that stay: collections would find nothing.
    collecting = gc.isenabled()
    gc.disable()
    try:
        load_modules(shared_object())
    finally:
        if collecting:
            gc.enable()


def load_modules(path):
    names = [f"{__package__}.{name}" for name in MODULES]
    for name in names:
        load(name, path)
    # Packages only now: importing one may import modules that need a compiled one.
    for name in names:
        package, _, basename = name.rpartition(".")
        setattr(importlib.import_module(package), basename, sys.modules[name])


load_all()
