"""Compares what a suite did on each loop, test by test."""

import dataclasses

from .harness import Run

BAD = ("failed", "died")
# A test that passes in one of these after all depends on time or chance.
REPEATS = 3


@dataclasses.dataclass
class Verdict:
    """What one of our backends did otherwise than asyncio's loop."""

    loop: str
    ours: dict = dataclasses.field(default_factory=dict)  # test -> last line of why
    unsteady: list = dataclasses.field(default_factory=list)


def compare(suite, stock, run):
    """Repeat what failed on ours only, to tell a bug from chance."""
    verdict = Verdict(run.loop)
    suspects = sorted(run.ids(*BAD, "skipped") & stock.ids("passed"))
    missing = sorted(stock.ids("passed") - set(run.tests))
    remaining = set(suspects)
    for _ in range(REPEATS):
        if not remaining:
            break
        remaining -= suite.run(run.loop, sorted(remaining)).ids("passed")
    # Alone it may fail on asyncio, too: a test that leans on the ones before it.
    if remaining:
        alone = suite.run("asyncio", sorted(remaining))
        leaning = remaining - alone.ids("passed")
        verdict.unsteady += sorted(leaning)
        remaining -= leaning
    verdict.unsteady += [test for test in suspects if test not in remaining]
    verdict.unsteady = sorted(set(verdict.unsteady))
    reasons = {test: run.tests[test].reason for test in sorted(remaining)}
    verdict.ours = {test: last_line(reason) for test, reason in reasons.items()}
    verdict.ours |= {test: "did not run" for test in missing}
    return verdict


def counts(run: Run):
    return {
        "passed": len(run.ids("passed")),
        "failed": len(run.ids(*BAD)),
        "skipped": len(run.ids("skipped")),
    }


def last_line(text):
    lines = [line for line in text.strip().splitlines() if line.strip()]
    told = [line for line in lines if line.startswith("E  ")] or lines
    return told[-1].removeprefix("E").strip()[:200] if told else ""
