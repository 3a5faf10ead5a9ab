"""Runs fuzzers in a process of its own, which may crash or hang.

    child SCENARIO DRIVER SEED COUNT    COUNT seeds from SEED on
    child SCENARIO DRIVER SEED steps    prints the steps of the seed
    child SCENARIO DRIVER SEED          the steps on standard input, as JSON

Prints each seed before it runs; ends with 1 after a finding, which it describes.
"""

import collections
import faulthandler
import importlib
import json
import logging
import random
import sys
import traceback
from asyncio import constants

# One list of steps takes less than a second; its waits end after 10.
DEADLINE_SECONDS = 60
# A listener without resources waits that long; asyncio's second would cost too much.
RETRY_SECONDS = 0.005


def main(scenario, driver, seed, count=None):
    logging.disable(logging.CRITICAL)
    constants.ACCEPT_RETRY_DELAY = RETRY_SECONDS
    seed = int(seed)
    module = importlib.import_module(f"{__package__}.{scenario}")
    if count is None:
        return attempt(module, driver, seed, json.load(sys.stdin), {})
    if count == "steps":
        print(json.dumps(steps_of(module, seed)))
        return 0
    faults, steps_count = collections.Counter(), 0
    for number in range(seed, seed + int(count)):
        print("seed", number, flush=True)
        steps = steps_of(module, number)
        steps_count += len(steps)
        if attempt(module, driver, number, steps, faults):
            return 1
    print("done", json.dumps({"steps": steps_count, "faults": faults}), flush=True)
    return 0


def steps_of(module, seed):
    # Through JSON: what is printed for a finding is what ran.
    return json.loads(json.dumps(module.generate(random.Random(seed))))


def attempt(module, driver, seed, steps, faults):
    faulthandler.dump_traceback_later(DEADLINE_SECONDS, exit=True)
    try:
        for kind, number in (module.run(driver, seed, steps) or {}).items():
            faults[kind] = faults.get(kind, 0) + number
    except BaseException:
        print(traceback.format_exc(), file=sys.stderr, flush=True)
        return 1
    finally:
        faulthandler.cancel_dump_traceback_later()
    return 0


if __name__ == "__main__":
    # Not sys.exit(): after a finding a thread or a loop may be in any state.
    import os
    code = main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)
