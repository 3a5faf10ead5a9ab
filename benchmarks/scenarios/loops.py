"""Turn the name of a loop on the command line into a running event loop.

A name is an importable module, optionally with options for its `new_event_loop`:

    asyncio    uvloop    uring_loop    uring_loop:backend=epoll

    uvloop:patch=aiofastnet

`patch` names a module whose `patch_loop()` changes the loop after it was made.
`#text` at the end makes a second entry of the same loop; `uvloop,uvloop#again`
shows how much two equal servers differ on this machine.
"""

import asyncio
import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass, field

OURS = "uring_loop"
EPOLL = "uring_loop:backend=epoll"
POLLING = "uring_loop:poll_max_ns=100000"
UNGATHERED = "uring_loop:gather_writes=false"
STDLIB_TLS = "uring_loop:tls=stdlib"
FASTNET = "uvloop:patch=aiofastnet"
# Names of columns; any other loop is shown by its own name.
LABELS = {OURS: "ours", EPOLL: "ours, epoll", POLLING: "ours, polling",
          UNGATHERED: "ours, not gathered", STDLIB_TLS: "ours, TLS by ssl",
          FASTNET: "aiofastnet on uvloop"}


@dataclass(frozen=True)
class LoopSpec:
    name: str
    module: str
    options: dict = field(default_factory=dict)


def label(name):
    """The name of a loop in tables and charts."""
    return LABELS.get(name, name)


def parse(name):
    """The LoopSpec behind a name, without importing anything."""
    module, *pairs = name.partition("#")[0].split(":")
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"loop option {pair!r} in {name!r} is not key=value")
        options[key] = _value(value)
    return LoopSpec(name, module, options)


def is_installed(name):
    """Are the modules there that a name stands for?"""
    spec = parse(name)
    modules = [spec.module, spec.options.get("patch", spec.module)]
    return all(importlib.util.find_spec(module) for module in modules)


def new_loop(name):
    """Make the loop in this process and set it as the current one."""
    spec = parse(name)
    module = importlib.import_module(spec.module)
    factory = getattr(module, "new_event_loop", None) or module.Loop
    options = dict(spec.options)
    patch = options.pop("patch", None)
    loop = factory(**options)
    if patch is not None:
        importlib.import_module(patch).patch_loop(loop)
    asyncio.set_event_loop(loop)
    return loop


def describe(name, loop):
    """Facts about a loop that a reader of its numbers needs."""
    spec = parse(name)
    module = importlib.import_module(spec.module)
    facts = {
        "class": f"{type(loop).__module__}.{type(loop).__qualname__}",
        "file": module.__file__,
        "options": spec.options,
    }
    if spec.module != "asyncio":
        facts["version"] = _version(module, spec.module)
    for attribute in ("backend", "backend_reason"):
        value = getattr(loop, attribute, None)
        if value is not None:
            facts[attribute] = str(value)
    if getattr(loop, "ring_flags", None):
        facts["ring_flags"] = list(loop.ring_flags)
    return facts


def _version(module, distribution):
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return getattr(module, "__version__", "unknown")


def _value(text):
    if text.lstrip("-").isdigit():
        return int(text)
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)
