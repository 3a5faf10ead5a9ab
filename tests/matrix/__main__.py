"""Records, compares and writes the matrix.

    python -m tests.matrix record    run tests/parity here: which test proves which row;
                                     or only the files or tests that are named
    python -m tests.matrix peer      run those tests on uvloop, if it is installed
    python -m tests.matrix           write docs/compatibility.md from what is recorded
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

from . import names, peer, render, results


def main(arguments):
    if arguments[:1] == ["record"]:
        record(arguments[1:] or ["tests/parity"])
    elif arguments == ["peer"]:
        found = results.load()
        found["peer"] = peer.run("uvloop", found["rows"])
        results.save(found)
    elif arguments:
        sys.exit(__doc__)
    if "peer" in results.load():
        render.write(results.load())


def record(tests):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "calls.json")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.matrix.recorder",
                   *tests, "--ignore=tests/parity/test_random.py"]
        subprocess.run(command, env={**os.environ, "MATRIX_RECORD": str(path)})
        recorded = json.loads(path.read_text("utf-8"))
    old = results.load() if results.PATH.exists() else {}
    found = results.from_recording(recorded, old)
    results.save(found)
    for rows in names.required().values():
        for row in rows:
            if row not in found["rows"]:
                print("no test calls", row)


if __name__ == "__main__":
    main(sys.argv[1:])
