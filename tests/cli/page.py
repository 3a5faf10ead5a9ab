"""The doctor's output in each situation of docs/doctor.md: made, and written there.

`python -m tests.cli.page` writes it. Needs root, and a kernel that allows io_uring.
"""

import pathlib
import re
import sys

from . import kit

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "doctor.md"
DOCTOR = "from uring_loop.cli import doctor; sys.exit(doctor.main(['--plain']))"
BLOCK = re.compile(r"^## ([^\n]+)\n\n```text\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
# Heading of the page -> (world, rows about the system that the world decides).
SITUATIONS = {
    "All is well": (kit.WORLDS["as it is"], ()),
    "A seccomp filter answers EPERM, as Docker's default profile does":
        (kit.WORLDS["EPERM"], ("seccomp",)),
    "A seccomp filter or an old kernel answers ENOSYS":
        (kit.WORLDS["ENOSYS"], ("seccomp",)),
    "The sysctl io_uring_disabled is 2":
        (kit.WORLDS["sysctl 2"], ("sysctl io_uring_disabled",)),
    "An ordinary user with RLIMIT_MEMLOCK at 64 KiB":
        (kit.somebody(64 << 10), ("RLIMIT_MEMLOCK",)),
    "One CPU (`taskset -c 0`)": (kit.WORLDS["one CPU"], ("CPUs",)),
    "A restricted ring (`URING_LOOP_RESTRICT=1`)":
        ("os.environ['URING_LOOP_RESTRICT'] = '1'", ()),
    "A seccomp filter that kills": (kit.WORLDS["killed"], ("seccomp",)),
}
USER = "/srv/app/.venv/bin/python"
# Rows above those about the system that the machine decides.
OF_THE_MACHINE = ("flags granted", "flags refused", "TLS engine")


def output(heading, folder):
    """What the doctor prints there."""
    _, out, err = kit.run(DOCTOR, SITUATIONS[heading][0], WORLD=str(folder))
    assert err == "", err
    out = re.sub(r"(?<=user id {21})\d{10}", "1000", out)
    return out.replace(sys.executable, USER)


def shown():
    """{heading: output} of the page."""
    return dict(BLOCK.findall(PAGE.read_text("utf-8")))


def essence(heading, text):
    """The lines without what differs from machine to machine and from run to run."""
    telling = SITUATIONS[heading][1]
    text = re.sub(r"\d+\.\d+ ms", "… ms", text)
    text = re.sub(r"\d+\.\d+[\w.+-]*", "…", text)
    text = re.sub(r"usable of \d+", "usable of …", text)
    lines, title = [], ""
    for line in text.splitlines():
        if line and not line.startswith(" "):
            title = line
        label = re.split(r"  +", line.strip())[0]
        if title == "System" and label not in telling or label in OF_THE_MACHINE:
            line = label
        if title != "Versions" or line == title:
            lines.append(" ".join(line.split()))
    return lines


def write(folder):
    text = PAGE.read_text("utf-8")
    before = text[:BLOCK.search(text).start()]
    PAGE.write_text(before + "\n".join(
        f"## {heading}\n\n```text\n{output(heading, folder).strip()}\n```\n"
        for heading in SITUATIONS))


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        write(pathlib.Path(scratch))
