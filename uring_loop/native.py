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
    folder = os.path.dirname(os.path.dirname(stem))
    if os.path.exists(os.path.join(folder, "setup.py")):
        # Python takes a clone in the current folder before what is installed.
        raise ImportError(
            f"uring_loop is imported from its source folder {folder}, which has no "
            f"compiled modules for {sys.implementation.cache_tag}: build them there "
            f"with 'python -m pip install -e {folder}', or start Python elsewhere")
    raise ImportError(
        f"{stem}*.so is missing: the compiled modules of uring_loop have not been "
        f"built for this Python ({sys.implementation.cache_tag}): install uring_loop "
        "with this Python's pip")


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
    for name in names:
        load(name, path)
    # Packages last: importing one may import modules that need a compiled one.
    for name in names:
        package, _, basename = name.rpartition(".")
        setattr(importlib.import_module(package), basename, sys.modules[name])


load_all()
