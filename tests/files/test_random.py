"""Random operations on random files do what they do with the builtin open."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from uring_loop.files import textfile

from .conftest import LOOPS, run_on
from .differences import compare

# Short, so that buffers of a few bytes are filled and emptied often.
SIZES = st.integers(-1, 20)
DATA = st.binary(max_size=20)
LINES = st.text("ab\r\n", max_size=24).map(str.encode)

BINARY = st.one_of(
    st.tuples(st.just("read"), SIZES),
    st.tuples(st.just("readline"), SIZES),
    st.tuples(st.just("readlines"), SIZES),
    st.tuples(st.just("readinto"), st.integers(0, 20)),
    st.tuples(st.just("write"), DATA),
    st.tuples(st.just("writelines"), st.lists(DATA, max_size=3)),
    st.tuples(st.just("seek"), st.integers(-3, 30), st.integers(0, 2)),
    st.tuples(st.just("tell")),
    st.tuples(st.just("truncate")),
    st.tuples(st.just("truncate"), st.integers(-1, 40)),
    st.tuples(st.just("flush")),
    st.tuples(st.just("iterate")),
)
MODES = ("r", "r+", "w", "w+", "a", "a+", "x", "x+")
CHARACTERS = "ab\r\n\u00e9\u4e2d\U0001f600"
TEXT = st.text(CHARACTERS, max_size=12)
# Without readlines(), since the builtin's tell() fails for ever once that has failed,
# and readline(0), which reads ahead there, so that a write goes elsewhere.
TEXTUAL = st.one_of(
    st.tuples(st.just("read"), SIZES),
    st.tuples(st.just("readline"), SIZES.filter(bool)),
    st.tuples(st.just("write"), TEXT),
    st.tuples(st.just("writelines"), st.lists(TEXT, max_size=3)),
    st.tuples(st.just("mark")),
    st.tuples(st.just("return"), st.integers(0, 3)),
    st.tuples(st.just("seek"), st.just(0), st.just(2)),
    st.tuples(st.just("seek"), st.integers(0, 1), st.just(1)),
    st.tuples(st.just("flush")),
)
QUICK = settings(
    max_examples=150, deadline=None, derandomize=True, phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture])


def readable(mode, operations):
    """Without readline(0), which the builtin answers though it may not read."""
    return [step for step in operations
            if step != ("readline", 0) or mode in "r" or "+" in mode]


def check(kind, folder, content, arguments, operations):
    run_on(kind, lambda: compare(folder, content, arguments, operations))


@pytest.mark.parametrize("loop_kind", LOOPS)
@QUICK
@given(content=st.one_of(st.none(), LINES, DATA), mode=st.sampled_from(MODES),
       buffering=st.sampled_from((0, 2, 7, -1)),
       operations=st.lists(BINARY, max_size=8))
def test_bytes(loop_kind, tmp_path, content, mode, buffering, operations):
    check(loop_kind, tmp_path, content, {"mode": mode + "b", "buffering": buffering},
          readable(mode, operations))


@pytest.mark.parametrize("loop_kind", LOOPS)
@QUICK
@given(text=st.one_of(st.none(), st.text(CHARACTERS, max_size=30)),
       mode=st.sampled_from(MODES), newline=st.sampled_from((None, "", "\n", "\r",
                                                             "\r\n")),
       encoding=st.sampled_from(("utf-8", "utf-16", "utf-8-sig", "gb18030", "utf-32")),
       chunk_bytes=st.sampled_from((3, 65536)),
       operations=st.lists(TEXTUAL, max_size=8))
def test_text(loop_kind, tmp_path, text, mode, newline, encoding, chunk_bytes,
              operations):
    if mode != "r" and encoding.startswith(("utf-16", "utf-32", "utf-8-")):
        # Whether a byte order mark follows a read at the end of an empty file is an
        # accident of the builtin's.
        operations = [step for step in operations if not step[0].startswith("read")]
    content = None if text is None else text.encode(encoding)
    arguments = {"mode": mode, "newline": newline, "encoding": encoding}
    with pytest.MonkeyPatch.context() as patch:
        if mode == "r":
            # Elsewhere a write begins where the reading in chunks ended.
            patch.setattr(textfile, "CHUNK_BYTES", chunk_bytes)
        check(loop_kind, tmp_path, content, arguments, operations)
