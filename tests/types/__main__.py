"""Command `python -m tests.types`: runs stubtest, mypy --strict and pyright.

stubtest compares each public module with its stub. mypy and pyright check the code of
README.md and of examples/. Ends non-zero if one of them has found something.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Where Debian's PyGObject is, which uring_loop.glib needs.
DEBIAN = "/usr/lib/python3/dist-packages"
EXAMPLES = sorted((ROOT / "examples").rglob("*.py"))

# A snippet of the README stands in a program that has what it does not show.
PROGRAM = '''
import asyncio
import uring_loop
from typing import Any

async def handle(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...

async def main() -> int: return 0

async def snippet() -> None:
'''


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        steps = [
            ("stubtest", stubtest(folder),
             {"MYPYPATH": f"{copy_stubs(folder / 'stubs')}:{HERE / 'stubs'}"}),
            *checks(folder, programs(folder)),
        ]
        failed = [name for name, command, settings in steps
                  if not passes(name, command, settings, folder)]
    return len(failed)


def passes(name, command, settings, folder):
    ended = subprocess.run(command, cwd=folder, env={**os.environ, **settings},
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(f"{'FAILED' if ended.returncode else 'ok    '} {name}", flush=True)
    if ended.returncode:
        print(ended.stdout[-6000:])
    return ended.returncode == 0


def stubtest(folder):
    """The command. Debian's PyGObject, which uring_loop.glib needs, is for Debian's
    own Python only."""
    lists = [str(HERE / "not_public.txt")]
    path = ""
    if sys.base_prefix == "/usr":
        path = f"sys.path.append({DEBIAN!r}); "
    else:
        print("glib.pyi is not compared: there is no PyGObject for this Python")
        lists.append(str(folder / "without_gobject.txt"))
        pathlib.Path(lists[1]).write_text(r"uring_loop\.(guest\.)?glib")
    options = [word for name in lists for word in ("--allowlist", name)]
    return [sys.executable, "-P", "-c", f"import runpy, sys; {path}"
            "sys.argv[0] = 'stubtest'; "
            "runpy.run_module('mypy.stubtest', run_name='__main__')",
            *options, "uring_loop"]


def copy_stubs(folder):
    """The stubs alone: stubtest would check the modules beside them as well."""
    package = ROOT / "uring_loop"
    for stub in package.rglob("*.pyi"):
        target = folder / "uring_loop" / stub.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(stub, target)
    return folder


def programs(folder):
    """The README's snippets, each as a file that can be checked."""
    text = (ROOT / "README.md").read_text("utf-8")
    paths = []
    for number, snippet in enumerate(re.findall(r"```python\n(.*?)```", text, re.S)):
        whole = snippet.startswith(("import", "from"))
        if not whole:
            snippet = PROGRAM + re.sub(r"^", "    ", snippet, flags=re.MULTILINE)
        path = folder / f"readme_{number}.py"
        path.write_text(snippet)
        paths.append(path)
    return paths


def checks(folder, snippets):
    """mypy takes one module of a name, so each folder of examples is a run."""
    stubs = {"MYPYPATH": str(HERE / "stubs")}
    mypy = [sys.executable, "-P", "-m", "mypy", "--strict", "--cache-dir",
            str(folder / "cache")]
    groups = {}
    for path in [*EXAMPLES, *snippets]:
        groups.setdefault(path.parent, []).append(str(path))
    for parent, paths in groups.items():
        name = "README" if parent == folder else parent.name
        yield f"mypy --strict, {name}", [*mypy, *paths], stubs
    settings = folder / "pyrightconfig.json"
    settings.write_text(f'{{"stubPath": "{HERE / "stubs"}"}}')
    yield ("pyright", [sys.executable, "-P", "-m", "pyright", "--project",
                       str(settings), "--pythonpath", sys.executable,
                       *map(str, [*EXAMPLES, *snippets])], {})


if __name__ == "__main__":
    sys.exit(main())
