"""A loop that has been made needs nothing more from the file system.

Daemons make their loop and then lock themselves into an empty directory; others run on
while an upgrade replaces the files of the package. So everything is imported by then.
"""

import os

import pytest

from ..stress import children
from . import everything, kit

CHROOT = """
loop = new_loop()
os.chroot({folder!r})
os.chdir("/")
tell(loop.run_until_complete(attempt_all(loop)))
loop.close()
"""

# There is no program to start and no /etc/hosts.
RIGHT = {"subprocess": {"ENOENT"}, "named_address": {"ok", "gaierror"}}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may chroot")
@kit.every_name
def test_everything_works_in_an_empty_directory(loop_name, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    words = children.run(
        everything.source(loop_name, tmp_path) + CHROOT.format(folder=str(empty)),
        loop_name)
    for name, result in everything.results(words).items():
        if loop_name == kit.STOCK and name in everything.IN_A_THREAD:
            continue    # asyncio imports the thread pool when it is first used
        right = RIGHT.get(name, {"ok"})
        assert result.split("<-")[0] in right, f"{name}: {result}"


# Codecs are looked up by Python itself, when an address is first converted. From 3.15
# on the stdlib imports names lazily: the first use of one is an event "module.name",
# also when the module is there already.
AUDIT = """
loop = new_loop()
imported = []
def note(event, args):
    if event == "import" and armed and not args[0].startswith("encodings"):
        module = sys.modules.get(args[0].rpartition(".")[0])
        if module is None or hasattr(module, "__path__"):
            imported.append(args[0])
armed = True
sys.addaudithook(note)
import signal       # of an action; it is there already
results = loop.run_until_complete(attempt_all(loop))
armed = False
tell(results)
print("imported", *imported)
loop.close()
"""
OF_CODECS = {"stringprep", "unicodedata"}


def audited(loop_name, tmp_path, audit):
    """What a child says that uses everything, in a folder of its own."""
    return children.run(
        f"os.chdir({str(tmp_path)!r})\n"
        + everything.source(loop_name, tmp_path) + audit, loop_name)


@kit.our_names
def test_nothing_is_imported_after_the_loop_was_made(loop_name, tmp_path):
    words = audited(loop_name, tmp_path, AUDIT)
    assert set(everything.results(words).values()) == {"ok"}, words
    late = set(words[words.index("imported") + 1:]) - OF_CODECS
    assert late == set()


@kit.our_names
def test_the_audit_would_notice_an_import(loop_name, tmp_path):
    """The probe itself: a module that was never imported is seen."""
    words = audited(loop_name, tmp_path,
                    AUDIT.replace("import signal ", "import colorsys "))
    assert "colorsys" in words[words.index("imported"):]
