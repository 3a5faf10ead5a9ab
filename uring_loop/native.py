"""Loads the compiled modules from the one shared object that holds them all.

Opening one shared object is cheaper than opening many, but Python's import system finds
a compiled module only in a file of the module's own name. So this module loads all of
them, each before the modules that cimport it; every later import finds them in
sys.modules.
"""

import gc
import importlib
import importlib.machinery
import os
import sys

# In the order of loading; tests/contract/test_native.py compares it with the sources.
MODULES = (
    "driver.ring", "driver.buffer_pool", "driver.handover", "scheduler.busy_poll",
    "scheduler.clock", "scheduler.wakeup", "scheduler.handles", "scheduler.timer_heap",
    "scheduler.held_writes", "scheduler.loop_core", "scheduler.watch",
    "scheduler.watches",
    "net.address", "net.gather", "net.transport", "net.backlog", "net.tls",
    "net.stream_writer", "net.stream", "net.datagram", "net.listener",
    "net.sock_calls", "net.connect",
    "process.pipes", "files.operations", "guest.guest_core",
)


def shared_object():
    """The path of the shared object, chosen by suffix as the import system does."""
    stem = os.path.join(os.path.dirname(__file__), "_native")
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        if os.path.exists(stem + suffix):
            return stem + suffix
    raise ImportError(
        f"{stem}*.so is missing: the compiled modules of uring_loop have not been "
        f"built for this Python ({sys.implementation.cache_tag})")


def load(name, path):
    """Import one module from the shared object; after an error sys.modules is as
    before."""
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
    try:
        for name in names:
            load(name, path)
    except ImportError as exc:
        # Python's and Cython's own messages name the first module and neither reason
        # nor cure.
        if "interpreter" not in str(exc):
            raise
        raise ImportError(
            "uring_loop can be used in one interpreter of a process only, since its "
            "compiled modules have one state for the process: import it in the main "
            "interpreter, and use IOThread or processes instead of sub-interpreters"
        ) from exc
    # Packages last: importing one may import modules that need a compiled one.
    for name in names:
        package, _, basename = name.rpartition(".")
        setattr(importlib.import_module(package), basename, sys.modules[name])


load_all()
