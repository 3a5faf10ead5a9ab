"""Goals of the scenarios, and verdicts about stored results.

The numbers were set before this loop was measured: a little above what the best
asyncio loop of that day reached in the scenario, on the merits of io_uring where no
loop was ahead of uvloop.
"""

from dataclasses import dataclass

from benchmarks.judge import stats
from benchmarks.scenarios.loops import EPOLL, OURS, POLLING

MEAN_GOAL = 1.60
# The epoll driver has two goals: for its geometric mean, and for each row.
EPOLL_MEAN_GOAL = 1.10
EPOLL_FLOOR = 0.95
# Measures that must reach the number of a goal; all others must not exceed it.
RATIOS = ("ratio", "cpu_ratio", "p50_ratio")
WORDS = {"ratio": "ratio", "cpu_ratio": "CPU ratio", "p50_ratio": "p50 ratio",
         "value": "value", "calls": "system calls"}


@dataclass(frozen=True)
class Goal:
    scenario: str
    number: float
    # A field of stats.Row.
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
        """Judged as the tables show it: with two digits after the point."""
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
    Goal("timer-churn-1000", 3.0),
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
    Goal("uvicorn-idle", 1.45),
    Goal("aiohttp", 1.20),
    Goal("websockets", 1.15),
    Goal("redis", 1.30),
)
SCENARIOS = frozenset(goal.scenario for goal in GOALS)
BY_CPU = frozenset(goal.scenario for goal in GOALS if goal.measure == "cpu_ratio")


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


def headline_ratio(record, loop):
    """The ratio by which a row is judged, or None where the loop has no result.

    CPU per request where the goal is that, since the load client caps the throughput
    there; what the scenario measures elsewhere.
    """
    row = stats.row(record, loop)
    field = "cpu_ratio" if record["name"] in BY_CPU else "ratio"
    spread = getattr(row, field) if row else None
    return spread.median if spread else None


def headline_ratios(records, loop):
    """[(ratio or None, record)] of a loop, one for each scenario that has a goal."""
    for name in dict.fromkeys(goal.scenario for goal in GOALS):
        record = records.get(name)
        if record is not None and loop in record["loops"] and loop != POLLING:
            yield headline_ratio(record, loop), record


def is_below_floor(ratio):
    """Whether a row of the epoll driver, as the tables show it, is too slow."""
    return ratio is None or round(ratio, 2) < EPOLL_FLOOR


@dataclass(frozen=True)
class EpollVerdict:
    mean: float | None      # over the scenarios that have a goal
    below: list             # records of the rows under EPOLL_FLOOR
    missing: str            # why no row has a result, or ""

    @property
    def mean_is_met(self):
        return self.mean is not None and round(self.mean, 2) >= EPOLL_MEAN_GOAL


def epoll_verdict(records):
    """Judge the epoll driver over all its rows; None where it was not measured."""
    measured = [record for record in records.values() if EPOLL in record["loops"]]
    if not measured:
        return None
    mean = stats.geometric_mean(
        ratio for ratio, _ in headline_ratios(records, EPOLL))
    # Beside a greedy neighbour, fewer echoes may mean that the neighbour got more.
    below = [record for record in measured if record["group"] != "Fairness"
             and is_below_floor(headline_ratio(record, EPOLL))]
    results = [record["loops"][EPOLL] for record in measured]
    missing = all(result.get("missing") for result in results)
    return EpollVerdict(mean, below, results[0]["error"] if missing else "")
