"""Record what a test body saw, in a form that two loops can be compared by.

Events that one loop may order otherwise (the two ends of a connection) go to
lanes of their own; inside a lane the order counts. Data is counted and hashed,
not listed: how many pieces it came in is timing.
"""

import difflib
import hashlib
import logging
import re

SHORT_BYTES = 40

# What differs between two runs, or between two loops by design, and says nothing.
NOISE = [
    (re.compile(r"0x[0-9a-fA-F]+"), "0x?"),
    (re.compile(r"('(?:127\.0\.0\.\d|::1)', )\d+"), r"\1PORT"),
    (re.compile(r"(laddr|raddr)=\([^)]*\)"), r"\1=ADDRESS"),
    (re.compile(r"\bfd=\d+"), "fd=N"),
    (re.compile(r"([Ff]ile descriptor:?) \d+"), r"\1 N"),
    (re.compile(r"\d+\.\d+ seconds"), "S seconds"),
    (re.compile(r"when=-?\d+\.\d+"), "when=T"),
    (re.compile(r"Task-\d+"), "Task-N"),
    (re.compile(r"pid=\d+|\bpid \d+"), "pid=N"),
    (re.compile(r"/tmp/parity-[^'\"/ ]+"), "/tmp/parity"),
    (re.compile(r"<[\w.]*Transport\b[^<>]*(?:<[^<>]*>[^<>]*)*>"), "<Transport>"),
    (re.compile(r"<[\w.]*Loop (?:backend=\w+ )?(?=running=)"), "<Loop "),
    # Callbacks inside a loop have names of their own choosing.
    (re.compile(r"(?s)(Exception in callback) .*"), r"\1 ..."),
]


class Lane:
    """One sequence of events whose order counts."""

    def __init__(self):
        self._events = []
        self._digest = None
        self._data_bytes = 0

    def __call__(self, event, *details):
        self._flush_data()
        self._events.append((event, *(describe(item) for item in details)))

    def data(self, chunk):
        """Note received bytes; neighbouring pieces count as one."""
        if self._digest is None:
            self._digest = hashlib.blake2b(digest_size=8)
        self._digest.update(chunk)
        self._data_bytes += len(chunk)

    def call(self, label, function, *args, **kwargs):
        """Note what a call returns or raises; hand back what it returned."""
        try:
            result = function(*args, **kwargs)
        except Exception as exc:
            self(label, "raised", exc)
            return None
        self(label, "returned", result)
        return result

    def call_class(self, label, function, *args, **kwargs):
        """Like call, for errors whose text names Python's own machinery."""
        try:
            result = function(*args, **kwargs)
        except Exception as exc:
            self(label, "raised", type(exc))
            return None
        self(label, "returned", result)
        return result

    async def wait(self, label, awaitable):
        """Note what awaiting gives or raises; hand back what it gave."""
        try:
            result = await awaitable
        except Exception as exc:
            self(label, "raised", exc)
            return None
        self(label, "returned", result)
        return result

    def events(self):
        self._flush_data()
        return self._events

    def _flush_data(self):
        if self._digest is not None:
            digest, self._digest = self._digest.hexdigest(), None
            self._events.append(("data", self._data_bytes, digest))
            self._data_bytes = 0


class Trace(Lane):
    """The main lane of a body, and by name the others."""

    def __init__(self):
        super().__init__()
        self._lanes = {}

    def lane(self, name):
        return self._lanes.setdefault(name, Lane())

    def exception_handler(self, loop, context):
        """What a loop reports goes on a lane too: silence must be equal as well."""
        details = [context["message"], context.get("exception"), sorted(context)]
        self.lane("exception handler")("called", *details)

    def lines(self):
        lanes = {"main": self, **dict(sorted(self._lanes.items()))}
        found = []
        for name, lane in lanes.items():
            for event in lane.events():
                found.append(f"{name}: " + ", ".join(map(str, event)))
        return found


class LogLane(logging.Handler):
    """Copies what asyncio logs at warning level and above onto the lane "log"."""

    def __init__(self, trace):
        super().__init__(logging.WARNING)
        self._lane = trace.lane("log")
        self._logger = logging.getLogger("asyncio")

    def emit(self, record):
        first_line = record.getMessage().partition("\n")[0]
        self._lane(record.levelname, first_line)

    def __enter__(self):
        self._logger.addHandler(self)
        return self

    def __exit__(self, *exc_info):
        self._logger.removeHandler(self)


def difference(expected, actual, name):
    """A readable account of what two traces do not share."""
    diff = difflib.unified_diff(expected, actual, "stock", name, lineterm="", n=30)
    return "\n".join(diff)


def describe(value):
    """A value as text that is the same on every loop and in every run."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return describe_bytes(bytes(value))
    if isinstance(value, BaseException):
        return describe_error(value)
    if isinstance(value, str):
        return repr(scrub(value))
    if isinstance(value, type):
        return value.__name__
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, (tuple, list)):
        return "[" + ", ".join(map(describe, value)) + "]"
    if isinstance(value, dict):
        return describe(sorted(value.items()))
    if isinstance(value, (set, frozenset)):
        return describe(sorted(value))
    return "an object"


def describe_bytes(value):
    if len(value) <= SHORT_BYTES:
        return repr(value)
    digest = hashlib.blake2b(value, digest_size=8).hexdigest()
    return f"{len(value)} bytes {digest}"


def describe_error(error):
    number = getattr(error, "errno", None)
    text = f"{type(error).__name__}({scrub(str(error))!r})"
    return text if number is None else f"{text} errno {number}"


def scrub(text):
    for pattern, replacement in NOISE:
        text = pattern.sub(replacement, text)
    return text
