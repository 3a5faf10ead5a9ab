"""Keep raw results in one JSON file, so that a report can be made without a run.

The file holds one record per scenario, each with the machine, commit and date of its
own run: {"version": 1, "scenarios": {name: record}}. A record has the scenario's
facts, "host", "rounds", "baseline" and "loops": {name: {"facts", "samples",
"calls"}} or {"error"}. Sample n of every loop comes from the same round.
"""

import json
import os
from pathlib import Path

from benchmarks.measure.processes import BenchmarkError

VERSION = 1


def load(path):
    """Records by scenario name; none where there is no file yet."""
    try:
        stored = json.loads(Path(path).read_text())
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise BenchmarkError(f"{path} is not JSON ({error}); delete it") from None
    if stored.get("version") != VERSION:
        raise BenchmarkError(f"{path} has another format; delete it and run again")
    return stored["scenarios"]


def save(path, records):
    """Replace the file atomically, so that Ctrl-C cannot truncate it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    # One scenario per line, so that a new result changes one line.
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(record)}"
                       for name, record in records.items())
    partial.write_text(f'{{"version": {VERSION}, "scenarios": {{\n{lines}\n}}}}\n')
    os.replace(partial, path)
