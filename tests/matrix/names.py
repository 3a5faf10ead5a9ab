"""Every public name of asyncio's loop that must have a row in the matrix.

Asked of the running Python, so that a version which adds a method or an option makes
`test_matrix.py` fail until a test of it has been recorded.
"""

import asyncio
import inspect
import subprocess

LOOP = asyncio.SelectorEventLoop
# Windows has these.
NOT_HERE = {"startupinfo", "creationflags"}
FLOW_CONTROL = ("set_write_buffer_limits", "get_write_buffer_limits",
                "get_write_buffer_size")

# Kinds of transports, and what each answers to.
TRANSPORTS = {
    "TCP": asyncio.Transport,
    "Unix": asyncio.Transport,
    "TLS": asyncio.Transport,
    "read pipe": asyncio.ReadTransport,
    "write pipe": asyncio.WriteTransport,
    "datagram": asyncio.DatagramTransport,
    "subprocess": asyncio.SubprocessTransport,
}
OTHERS = {
    "Server": asyncio.base_events.Server,
    "Handle": asyncio.Handle,
    "TimerHandle": asyncio.TimerHandle,
}


def required():
    """{section: [row, ...]} for the running Python."""
    sections = {"loop": rows_of("loop", LOOP, public(asyncio.AbstractEventLoop))}
    for kind, base in TRANSPORTS.items():
        names = public(base)
        if kind == "datagram":
            names = sorted({*names, *FLOW_CONTROL})
        holder = asyncio.Transport if kind == "datagram" else base
        sections[f"{kind} transport"] = rows_of(kind, holder, names)
    for name, kind in OTHERS.items():
        sections[name] = rows_of(name, kind, public(kind))
    return sections


def public(kind):
    return sorted(name for name in dir(kind) if not name.startswith("_"))


def rows_of(section, kind, names):
    rows = []
    for name in names:
        rows.append(f"{section}.{name}")
        options = options_of(getattr(kind, name, None), name)
        rows += [f"{section}.{name}({option}=)" for option in options]
    return rows


def options_of(method, name):
    """The arguments that may be left out; what asyncio passes on counts as well."""
    if not callable(method):
        return []
    parameters = inspect.signature(method).parameters.values()
    options = [p.name for p in parameters if p.default is not p.empty]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        options += [option for option in passed_on(name) if option not in options]
    return options


def passed_on(name):
    if name == "create_task":
        return sorted({*options_of(asyncio.Task, name="Task")} - {"loop"})
    if name.startswith("subprocess_"):
        return sorted({*options_of(subprocess.Popen, name="Popen")} - NOT_HERE)
    return []
