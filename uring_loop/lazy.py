"""Lazy import of the package: each module runs when it is first used.

Most modules are not needed to make a loop, so start-up does not run them. But a module
that runs later can read no file: the program may have called chroot(), have no free
descriptor, or have been upgraded in place. So the code of all modules is in memory from
the start. The compiled modules are in one shared object, and the bytecode of the others
is read here, which is much cheaper than running it. Where Python stores no bytecode,
the source is read.

Each module is in sys.modules from the start, as an object whose first missing attribute
runs the module. So `import`, `from … import` and `cimport` work as for other modules.
"""

import gc
import importlib
import importlib.machinery
import marshal
import os
import struct
import sys
import threading
from functools import partial
from importlib._bootstrap import module_from_spec
from importlib._bootstrap_external import MAGIC_NUMBER
from importlib.machinery import ExtensionFileLoader, SourceFileLoader
from types import ModuleType

# The modules in the shared object, each after those that it imports. The order and the
# completeness of both lists are tested in tests/contract/test_lazy.py.
COMPILED = (
    "driver.ring", "driver.buffer_pool", "driver.handover", "scheduler.busy_poll",
    "scheduler.clock", "scheduler.wakeup", "scheduler.handles",
    "scheduler.callback_watch", "scheduler.timer_heap", "scheduler.held_writes",
    "scheduler.loop_thread", "scheduler.loop_core", "scheduler.watch",
    "scheduler.watches",
    "net.address", "net.gather", "net.transport", "net.backlog", "net.stream_writer",
    "net.libssl", "net.ssl_connection", "net.tls", "net.stream", "net.datagram",
    "net.listener", "net.sock_calls", "net.connect",
    "process.pipes", "files.operations", "guest.guest_core",
)
# Package -> its Python modules. Each package is itself one.
PYTHON = {
    "": ("_compat", "_version", "loop", "policy", "running"),
    "driver": ("backend", "options"),
    "scheduler": ("ring_selector", "statistics"),
    "net": ("overridden_sockets", "resolver", "start_tls", "tls_trust",
            "transport_socket", "user_sockets"),
    "process": ("subprocesses",),
    "files": ("binaryfile", "executor", "fs", "opening", "path", "rawfile", "reading",
              "textfile"),
    "guest": ("guest",),
    "threads": ("iothread", "iothread_group", "sharded_server"),
}
# Packages whose own file has nothing but a docstring.
EMPTY = ("driver", "scheduler", "net", "process", "threads")
# Modules of the stdlib that asyncio, socket and ssl import when they need them: the
# codec of host names, and the thread pool.
STDLIB = ("encodings.idna", "stringprep", "queue", "concurrent.futures.thread")
# Extension modules that these import; each is in a file of its own.
STDLIB_COMPILED = ("_queue", "unicodedata")

FOLDER = os.path.dirname(__file__)
# Of a bytecode file: magic number, flags, time of change and size of the source.
HEADER = struct.Struct("<4sIII")
MAX_BYTECODE_SIZE = 1 << 16
# Tools ask every module for names such as __wrapped__. These are a module's own.
OWN_SPECIAL_NAMES = ("__all__", "__pyx_capi__", "__version__")

# Names of the modules that have not run -> the bytecode, as in its file; or a function
# that returns the module's code; or COMPILED, if the code is in the shared object.
_waiting = {}
_lock = threading.RLock()


class LazyModule(ModuleType):
    """A module that has not run yet. Its first missing attribute runs it."""

    def __getattr__(self, name):
        if name.startswith("__") and name not in OWN_SPECIAL_NAMES:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        run(self)
        return getattr(self, name)

    def __setattr__(self, name, value):
        # What a program sets must not be replaced by the module's own value later.
        run(self)
        ModuleType.__setattr__(self, name, value)

    def __delattr__(self, name):
        run(self)
        ModuleType.__delattr__(self, name)

    def __dir__(self):
        run(self)
        return ModuleType.__dir__(self)


class RunningModule(ModuleType):
    """A module that a thread is running; afterwards its class is ModuleType.

    Other threads wait: a class that is there may lack what the module does last, and
    a name may get another value.
    """

    def __getattribute__(self, name):
        if not name.startswith("__") or name in OWN_SPECIAL_NAMES:
            with _lock:
                pass
        return ModuleType.__getattribute__(self, name)

    def __setattr__(self, name, value):
        with _lock:
            ModuleType.__setattr__(self, name, value)

    def __delattr__(self, name):
        with _lock:
            ModuleType.__delattr__(self, name)

    def __dir__(self):
        with _lock:
            return ModuleType.__dir__(self)


def run(module):
    """Run the module if it has not run. Other threads wait for its end."""
    with _lock:
        code = _waiting.pop(module.__name__, None)
        if code is None:
            # It has run, or this thread is running it and a cycle leads here.
            return
        module.__class__ = RunningModule
        try:
            without_collections(execute, code, module)
        except BaseException:
            _waiting[module.__name__] = code
            module.__class__ = LazyModule
            raise
        module.__class__ = ModuleType


def execute(code, module):
    if code is COMPILED:
        module.__loader__.exec_module(module)
    elif isinstance(code, bytes):
        exec(marshal.loads(memoryview(code)[HEADER.size:]), vars(module))
    else:
        exec(code(), vars(module))


def without_collections(function, *args):
    """Call a function that makes many objects that stay: a collection would find
    nothing."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        function(*args)
    finally:
        if collecting:
            gc.enable()


class LazyMethod:
    """A method of a class that is a function of the same name in another module.

    The first use replaces it in the class by the function.
    """

    def __init__(self, module):
        self.module = f"{__package__}.{module}"

    def __set_name__(self, owner, name):
        self.owner = owner
        self.name = name

    def __get__(self, instance, owner):
        function = getattr(sys.modules[self.module], self.name)
        setattr(self.owner, self.name, function)
        return function.__get__(instance, owner)


def make_lock_anew():
    """A forked child has no thread that would release the lock."""
    global _lock
    _lock = threading.RLock()


def register_all():
    register_python()
    register_compiled()
    for name in STDLIB_COMPILED:
        load_stdlib_extension(name)
    register_stdlib()


def register(module, spec, code):
    """Put a module that has not run into sys.modules and its package."""
    place(module, spec)
    module.__class__ = LazyModule
    _waiting[spec.name] = code


def place(module, spec):
    module.__spec__ = spec
    module.__loader__ = spec.loader
    module.__package__ = spec.parent
    module.__file__ = spec.origin
    sys.modules[spec.name] = module
    package, _, name = spec.name.rpartition(".")
    if package:
        vars(sys.modules[package])[name] = module


# ---- compiled modules


def shared_object():
    """The path of the shared object, chosen by suffix as the import system does."""
    stem = os.path.join(FOLDER, "_native")
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        if os.path.exists(stem + suffix):
            return stem + suffix
    folder = os.path.dirname(FOLDER)
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


def register_compiled():
    """Python's import system finds a compiled module only in a file of the module's own
    name. So each is made here from the shared object."""
    path = shared_object()
    native = load_extension(f"{__package__}._native", path)
    for name in COMPILED:
        name = f"{__package__}.{name}"
        spec = file_spec(ExtensionFileLoader, name, path)
        register(create_module(native, spec), spec, COMPILED)


def file_spec(loader_type, name, path):
    spec = importlib.machinery.ModuleSpec(name, loader_type(name, path), origin=path)
    spec.has_location = True
    return spec


def load_extension(name, path):
    spec = file_spec(ExtensionFileLoader, name, path)
    module = sys.modules[name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def create_module(native, spec):
    try:
        return native.create_module(spec.name.rpartition(".")[2], spec)
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


# ---- Python modules


def register_python():
    for package, modules in PYTHON.items():
        folder, prefix = FOLDER, __package__
        if package:
            folder, prefix = f"{folder}/{package}", f"{prefix}.{package}"
        spec = file_spec(SourceFileLoader, prefix, f"{folder}/__init__.py")
        if package:
            spec.submodule_search_locations = [folder]
            if package in EMPTY:
                place(ModuleType(prefix), spec)
            else:
                register_source(spec, spec.cached)
            vars(sys.modules[prefix])["__path__"] = [folder]
        # Where bytecode is depends on Python's settings: ask once for each folder.
        start, _, end = (spec.cached or "").rpartition("__init__")
        for name in modules:
            register_source(
                file_spec(SourceFileLoader, f"{prefix}.{name}", f"{folder}/{name}.py"),
                f"{start}{name}{end}")


def load_stdlib_extension(name):
    """Import an extension module from where asyncio's own extension module stands: the
    import system would look through all folders of `sys.path` and list this one."""
    folder, file = os.path.split(getattr(sys.modules.get("_asyncio"), "__file__", ""))
    path = os.path.join(folder, file.replace("_asyncio", name))
    if name in sys.modules or not os.path.exists(path):
        # Built into the interpreter, for example.
        importlib.import_module(name)
        return
    load_extension(name, path)


def register_stdlib():
    for name in STDLIB:
        if name not in sys.modules:
            package, _, basename = name.rpartition(".")
            folder = os.path.dirname(threading.__file__)
            if package:
                folder = importlib.import_module(package).__path__[0]
            spec = file_spec(SourceFileLoader, name, f"{folder}/{basename}.py")
            register_source(spec, spec.cached)


def register_source(spec, bytecode_path):
    code = read_bytecode(spec.origin, bytecode_path)
    if code is None:
        spec, code = load_without_bytecode(spec)
    register(ModuleType(spec.name), spec, code)


def load_without_bytecode(spec):
    """(spec, function that returns the module's code and reads no file)."""
    if sys.dont_write_bytecode:
        # Compiled anew in each process: only what is used, when it is used.
        try:
            source = spec.loader.get_data(spec.origin)
        except OSError:
            pass
        else:
            return spec, partial(spec.loader.source_to_code, source, spec.origin)
    # There is no bytecode yet, which this stores, or the files are in an archive.
    from importlib.util import find_spec
    spec = find_spec(spec.name)
    code = spec.loader.get_code(spec.name)
    return spec, lambda: code


def read_bytecode(path, bytecode_path):
    """A module's bytecode file as the import system has stored it; None if there is
    none that is up to date. `get_code()` takes ten times as long, since it also unpacks
    it."""
    try:
        source = os.stat(path)
        descriptor = os.open(bytecode_path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, TypeError):
        return None
    try:
        code = os.read(descriptor, MAX_BYTECODE_SIZE)
    finally:
        os.close(descriptor)
    header = HEADER.pack(MAGIC_NUMBER, 0, int(source.st_mtime) & 0xFFFFFFFF,
                         source.st_size & 0xFFFFFFFF)
    if not code.startswith(header) or len(code) == MAX_BYTECODE_SIZE:
        return None
    # The path of the source is part of the code, for tracebacks. It is another one
    # if the files have been moved since.
    return code if os.fsencode(path) in code else None


without_collections(register_all)
os.register_at_fork(after_in_child=make_lock_anew)
