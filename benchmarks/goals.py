"""What each scenario is to reach, and whether stored results reach it.

The numbers were set before this loop was measured: a little above what the best
asyncio loop of that day reached in the scenario, on the merits of io_uring where no
loop was ahead of uvloop.
"""

from dataclasses import dataclass

from benchmarks import stats

OURS = "uring_loop"
POLLING = "uring_loop:poll_max_ns=100000"
MEAN_GOAL = 1.60
# What the geometric mean takes for a goal that is not itself a ratio.
RATIOS = ("ratio", "cpu_ratio", "p50_ratio")
WORDS = {"ratio": "ratio", "cpu_ratio": "CPU ratio", "p50_ratio": "p50 ratio",
         "value": "value", "calls": "system calls"}


@dataclass(frozen=True)
class Goal:
    scenario: str
    number: float
    # A field of stats.Row. Ratios are to reach the number, others not to exceed it.
    measure: str = "ratio"
    loop: str = OURS

    @property
    def is_ratio(self):
        return self.measure in RATIOS

    def text(self, unit):
        if self.measure == "value":
            return f"≤ {self.number:g} {unit}"
        sign = "≥" if self.is_ratio else "≤"
        return f"{WORDS[self.measure]} {sign} {self.number:g}"


@dataclass(frozen=True)
class Verdict:
    goal: Goal
    record: dict
    reached: float | None       # None where the loop has no result
    low: float | None = None    # quartiles of a ratio
    high: float | None = None

    @property
    def met(self):
        """As the tables show it: at two digits after the point."""
        if self.reached is None:
            return False
        reached = round(self.reached, 2)
        number = self.goal.number
        return reached >= number if self.goal.is_ratio else reached <= number


GOALS = (
    Goal("tcp-protocol-1-1k", 1.10),
    Goal("tcp-protocol-1-1k", 2.0, "calls"),
    Goal("ping-pong", 1.33, "p50_ratio", POLLING),
    Goal("tcp-protocol-64-1k", 1.35, "cpu_ratio"),
    Goal("tcp-protocol-512-1k", 1.30, "cpu_ratio"),
    Goal("tcp-protocol-64-16k", 1.10),
    Goal("tcp-protocol-16-100-deep16", 1.25),
    Goal("tcp-buffered-64-1k", 1.40),
    Goal("tcp-streams-64-1k", 1.35),
    Goal("tcp-sock-64-1k", 2.4),
    Goal("unix-64-1k", 1.25),
    Goal("udp-64-512", 1.5),
    Goal("tls-64-1k", 1.25),
    Goal("bulk-send", 1.15),
    Goal("bulk-receive", 1.10),
    Goal("churn", 1.25),
    Goal("memory", 0.9, "value"),
    Goal("call-soon-chain", 4.0),
    Goal("call-soon-burst", 2.0),
    Goal("timer-churn", 2.8),
    Goal("sleep-zero", 2.0),
    Goal("task-gather", 1.3),
    Goal("threadsafe", 1.2),
    Goal("executor", 1.15),
    Goal("pipe-reader", 1.3),
    Goal("connect-close", 1.2),
    Goal("subprocess", 5.0),
    Goal("short-sleep", 10.0),
    Goal("startup", 1.2, "value"),
    Goal("uvicorn", 1.45),
    Goal("aiohttp", 1.20),
    Goal("websockets", 1.15),
    Goal("redis", 1.30),
)
SCENARIOS = frozenset(goal.scenario for goal in GOALS)


def verdicts(records):
    """A Verdict for each goal whose scenario was measured, in the order of GOALS."""
    for goal in GOALS:
        record = records.get(goal.scenario)
        if record is None or goal.loop not in record["loops"]:
            continue
        row = stats.row(record, goal.loop)
        reached = getattr(row, goal.measure) if row else None
        if goal.is_ratio and reached is not None:
            yield Verdict(goal, record, reached.median, reached.low, reached.high)
        else:
            yield Verdict(goal, record, reached)


def headline_ratios(records, loop):
    """[(ratio, record)] of a loop, one for each scenario that has a goal.

    By CPU per request where the goal is that, since the load client caps the
    throughput there; by what the scenario measures elsewhere. None: it failed.
    """
    measures = {goal.scenario: goal.measure for goal in reversed(GOALS)}
    for name, measure in measures.items():
        record = records.get(name)
        if record is None or loop not in record["loops"] or loop == POLLING:
            continue
        row = stats.row(record, loop)
        field = measure if measure == "cpu_ratio" else "ratio"
        spread = getattr(row, field) if row else None
        yield (spread.median if spread else None), record
