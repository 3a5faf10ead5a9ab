"""include/*.h beside Debian's liburing: constants, layouts, and filled entries."""

import os
import re
import shlex
import shutil
import subprocess

import pytest

from .conftest import HERE, INCLUDE, run

CC = shlex.split(os.environ.get("CC", "cc"))
STRICT = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion",
          "-Werror", "-pedantic")

# What Debian 12's liburing (2.3) lacks since the kernel got it later, with the value
# of the kernel's own header. With a newer liburing fewer remain; none may be added.
NEWER = {
    "constant IORING_SETUP_NO_SQARRAY": 1 << 16,        # 6.6
    "constant IORING_OP_FTRUNCATE": 55,                 # 6.9
    "offset io_sqring_offsets.user_addr": 32,           # 6.5, was resv2
    "width io_sqring_offsets.user_addr": 8,
    "offset io_cqring_offsets.user_addr": 32,           # 6.5, was resv2
    "width io_cqring_offsets.user_addr": 8,
    "offset io_uring_buf_reg.flags": 14,                # 6.4, was pad
    "width io_uring_buf_reg.flags": 2,
}
# Headers that fill entries.
PREPARING = ("uring_prep.h", "uring_file.h")
# Ours and not the kernel's.
NOT_ABI = {"URING_ABI_H"}


def abi():
    return (INCLUDE / "uring_abi.h").read_text()


def without_comments(text):
    return re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)


def constants(text):
    """Every #define of our header, whatever its shape."""
    return set(re.findall(r"^\s*#\s*define\s+(\w+)", text, re.MULTILINE)) - NOT_ABI


def structs(text):
    """{name: [field, ...]} of each struct at the top level, unions opened up."""
    found = {}
    for match in re.finditer(r"\bstruct\s+(\w+)\s*\{", text):
        if text.count("{", 0, match.start()) != text.count("}", 0, match.start()):
            continue
        end, depth = match.end(), 1
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        body = text[match.end():end - 1]
        fields = re.findall(r"[^;{}]*?\b(\w+)\s*((?:\[[^\]]*\])?)\s*;", body)
        found[match[1]] = [name + array for name, array in fields
                           if not name.startswith("__attribute")]
    return found


def wanted():
    """The lines of abi_names.h, one for each thing that our header says."""
    text = without_comments(abi())
    lines = {f"constant {name}": f"CONSTANT({name})" for name in constants(text)}
    for struct, fields in structs(text).items():
        lines[f"size {struct}"] = f"SIZE({struct})"
        for field in fields:
            name = field.split("[")[0]
            if re.match("resv|pad", name):
                continue  # shrinks when a kernel finds a use for it; sizes tell
            lines[f"offset {struct}.{name}"] = f"FIELD({struct}, {name})"
            if not field.endswith("[]"):
                lines[f"width {struct}.{name}"] = f"WIDTH({struct}, {name})"
    return lines


def dump(folder, lines, *options):
    """{"kind name": value} as printed by abi_dump.c, and the lines with neither."""
    folder.mkdir()
    (folder / "abi_names.h").write_text("\n".join(lines.values()) + "\n")
    program = folder / "abi_dump"
    run(*CC, "-std=gnu11", "-D_GNU_SOURCE", "-I", folder, "-I", INCLUDE, *options,
        HERE / "abi_dump.c", "-o", program)
    return run(program).splitlines()


def values(lines):
    named = [line.rsplit(" ", 1) for line in lines]
    return {name: int(value) for name, value in named
            if name.split()[0] in ("constant", "size", "offset", "width")}


def reference_lines(lines):
    """Those that liburing's headers can answer; the rest is newer than they are."""
    text = run(*CC, "-E", "-dD", "-D_GNU_SOURCE", "-DREFERENCE", "-I", HERE,
               "-include", "liburing.h", "-x", "c", os.devnull)
    names = set(re.findall(r"\b\w+\b", text))
    fields = {struct: {field.split("[")[0] for field in found}
              for struct, found in structs(text).items()}

    def known(key):
        kind, name = key.split()
        if kind == "constant":
            return name in names or name.startswith("URING_SYS_")
        struct, _, field = name.partition(".")
        return struct in fields and (not field or field in fields[struct])

    return {key: line for key, line in lines.items() if known(key)}


@pytest.fixture(scope="module")
def compiler():
    if shutil.which(CC[0]) is None:
        pytest.skip(f"no C compiler ({CC[0]}): install gcc")


@pytest.fixture(scope="module")
def dumps(compiler, tmp_path_factory):
    """(ours, liburing's) output, each asked only for what it can answer."""
    probe = subprocess.run([*CC, "-E", "-include", "liburing.h", "-x", "c", os.devnull],
                           capture_output=True)
    if probe.returncode:
        pytest.skip("no <liburing.h> to compare with: install liburing-dev")
    folder = tmp_path_factory.mktemp("abi")
    lines = wanted()
    common = reference_lines(lines)
    ours = dump(folder / "ours", lines)
    return ours, dump(folder / "liburing", common, "-DREFERENCE")


def test_the_header_was_read_whole():
    """The extraction sees what a person sees; else the comparison would be empty."""
    text = without_comments(abi())
    found = structs(text)
    assert len(found) == len(re.findall(r"^struct \w+ \{", text, re.MULTILINE)) > 10
    assert {"poll32_events", "cancel_flags", "file_index", "__pad2[1]"} <= set(
        found["io_uring_sqe"])
    assert found["io_uring_probe"][-1] == "ops[]"
    assert found["__kernel_timespec"] == ["tv_sec", "tv_nsec"]
    assert not re.search(r"\benum\b", text), "teach constants() to read enums"
    for name in ("IORING_OP_NOP", "IOSQE_BUFFER_SELECT", "IO_URING_OP_SUPPORTED",
                 "IORING_CQE_BUFFER_SHIFT", "URING_SYS_ENTER"):
        assert name in constants(text)


def test_every_line_is_liburings(dumps):
    ours, theirs = dumps
    common = [line for line in ours if line in theirs or not newer(line)]
    assert common == theirs


def newer(line):
    return line.rsplit(" ", 1)[0] in NEWER


def test_what_could_not_be_compared_is_known_to_be_newer(dumps):
    """A newer liburing makes this set smaller; nothing may slip into it."""
    ours, theirs = map(values, dumps)
    assert set(ours) - set(theirs) <= set(NEWER)
    assert set(theirs) <= set(ours)


def test_what_is_newer_has_the_kernels_value(compiler, tmp_path):
    ours = values(dump(tmp_path / "ours", wanted()))
    assert {name: ours.get(name) for name in NEWER} == NEWER


def test_every_prep_function_is_compared(dumps):
    text = without_comments("".join((INCLUDE / name).read_text() for name in PREPARING))
    functions = set(re.findall(r"\bio_uring_prep_(\w+)\(struct|"
                               r"\bio_uring_prep_(\w+)\(int op", text))
    names = {a or b for a, b in functions}
    ours = {line.split()[1] for line in dumps[0] if line.startswith("prep ")}
    theirs = {line.split()[1] for line in dumps[1] if line.startswith("prep ")}
    assert names == ours == theirs


def test_every_constant_is_defined_in_the_abi_header():
    """Constants live in the one file that is compared."""
    for name in ("uring.h", *PREPARING):
        text = (INCLUDE / name).read_text()
        assert re.findall(r"^\s*#\s*define\s+(?!URING_(?:PREP_|FILE_)?H\b)\w+", text,
                          re.MULTILINE) == []


# ---- how the header compiles ------------------------------------------------


def compile_header(folder, language, *options):
    """Use the header as its only include, so that it must be complete in itself."""
    source = folder / f"alone.{language}"
    source.write_text('#include "uring.h"\n#include "uring.h"\n'
                      "struct io_uring *unused_ring;\n")
    run(*CC, "-c", "-D_GNU_SOURCE", "-I", INCLUDE, *options, source, "-o",
        folder / "alone.o")


@pytest.mark.parametrize("standard", ["gnu11", "gnu17"])
def test_the_header_is_clean_c(compiler, tmp_path, standard):
    compile_header(tmp_path, "c", f"-std={standard}", "-O2", *STRICT)


def test_the_header_is_clean_cplusplus(compiler, tmp_path):
    probe = subprocess.run([*CC, "-x", "c++", "-E", os.devnull], capture_output=True)
    if probe.returncode:
        pytest.skip("the C compiler has no C++: install g++")
    # Flexible arrays and designated initialisers: C that C++ compilers also take.
    compile_header(tmp_path, "cpp", "-std=gnu++20", "-O2", "-Wall", "-Wextra",
                   "-Wno-missing-field-initializers", "-Werror")


def test_the_kernels_header_is_not_needed(compiler, tmp_path):
    """Neither absent nor ancient kernel headers on the build host matter."""
    (tmp_path / "linux").mkdir()
    (tmp_path / "linux" / "io_uring.h").write_text("#error included after all\n")
    (tmp_path / "liburing.h").write_text("#error included after all\n")
    compile_header(tmp_path, "c", "-std=gnu11", *STRICT, "-I", tmp_path)
