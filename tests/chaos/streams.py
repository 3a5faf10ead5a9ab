"""Fuzzer of streams: actions from outside and from every callback, on peers that err.

A step is ["turn", count], ["thread", 0 or 1], ["do", connection, action, number] or
["on", connection, callback, action, number], which waits for the next call of that
callback. The first step is the set-up.
"""

import contextlib
import weakref

from . import stream_peers
from .stream_ends import PROTOCOLS
from .world import Finding, World, check

ACTIONS = (
    ("write", 8), ("write bytearray", 3), ("write much", 3), ("writelines", 3),
    ("pause", 4), ("resume", 5), ("set_protocol", 2), ("close", 1), ("abort", 1),
    ("write_eof", 1), ("sendfile", 1), ("limits", 2), ("buffer size", 1), ("raise", 1),
    ("interrupt", 2), ("stop", 2), ("soon", 2), ("get_extra_info", 1),
)
PEER_ACTIONS = (
    ("peer sends", 10), ("peer reads", 10), ("peer floods", 3), ("peer half-closes", 1),
    ("peer resets", 1), ("peer closes", 1),
)
CALLBACKS = ("connection_made", "data", "data", "data", "pause_writing",
             "resume_writing", "eof_received", "connection_lost", "soon")
STEPS_MOST = 60


def chosen(random, table):
    return random.choices([name for name, _ in table],
                          [weight for _, weight in table])[0]


def generate(random):
    """A set-up and a list of steps."""
    count = random.randint(1, 4)
    setup = {
        "sq_entries": random.choice((8, 8, 256)),
        "gather_writes": random.random() < 0.7,
        "connections": [{
            "made": random.choice(("accepted", "connected", "given")),
            "family": random.choice(("tcp", "unix")),
            "kind": random.choice(sorted(PROTOCOLS)),
            "tiny": random.random() < 0.5,
            "keep_open": random.random() < 0.5,
        } for _ in range(count)],
    }
    steps = [["setup", setup]]
    for _ in range(random.randint(5, STEPS_MOST)):
        steps.append(step(random, random.randrange(count)))
    return steps


def step(random, connection):
    what = random.random()
    number = int(2 ** random.uniform(0, 16))
    if what < 0.25:
        return ["turn", random.randint(1, 4)]
    if what < 0.27:
        return ["thread", random.randint(0, 1)]
    if what < 0.5:
        return ["do", connection, chosen(random, PEER_ACTIONS), number]
    action = chosen(random, ACTIONS)
    if what < 0.75 and action not in ("raise", "interrupt", "stop"):
        return ["do", connection, action, number]
    return ["on", connection, random.choice(CALLBACKS), action, number]


def run(driver, seed, steps):
    """Carry out the steps; raises Finding. Returns the faults that happened."""
    setup = steps[0][1]
    world = World(driver, seed, sq_entries=setup["sq_entries"],
                  gather_writes=setup["gather_writes"])
    connections = []
    try:
        for number, wanted in enumerate(setup["connections"]):
            connections.append(stream_peers.connect(world, number, wanted))
        for at, step in enumerate(steps[1:], 1):
            carry_out(world, connections, step)
            for connection in connections:
                connection.check(f"after step {at} {step}")
        finish(world, connections)
    except Finding as exc:
        exc.add_note("\n".join(map(repr, connections)))
        raise
    world.watched = [weakref.ref(transport) for connection in connections
                     for transport in [connection.forget()]]
    del connections
    return world.close()


def carry_out(world, connections, step):
    kind, *rest = step
    if kind == "turn":
        world.turn(rest[0])
    elif kind == "thread":
        world.in_thread = bool(rest[0])
    elif kind == "do":
        number, action, size = rest
        # An interruption of a callback within, such as pause_writing().
        with contextlib.suppress(KeyboardInterrupt):
            connections[number].do(action, size)
    elif kind == "on":
        number, callback, action, size = rest
        connections[number].scripts[callback].append((action, size))
    world.check_problems()


def finish(world, connections):
    """Let everything arrive, close, and have each connection_lost() called."""
    for connection in connections:
        connection.no_more_scripts()
    for connection in connections:
        world.until(connection.is_complete, f"complete: {connection!r}")
        connection.check("complete")
        connection.close()
    for connection in connections:
        world.until(connection.has_ended, f"ended: {connection!r}")
        connection.check_end()
        connection.peer.close()
    world.turn(3)
    for connection in connections:
        check(len(connection.losses) == 1, "connection_lost twice", connection)
