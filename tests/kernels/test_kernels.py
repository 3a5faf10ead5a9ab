"""What `python -m tests.kernels` does without a guest: choosing, packing, counting."""

import re

from . import archive, initramfs, table

NAMES = ["5.10.0-9-cloud-amd64", "5.10.0-46-cloud-amd64", "6.1.0-56-cloud-amd64",
         "6.12.90+deb13-cloud-amd64", "6.12.118+deb13-cloud-amd64"]


def test_the_newest_kernel_of_a_version_is_taken(monkeypatch, tmp_path):
    debian = archive.Archive(tmp_path)
    monkeypatch.setattr(debian, "kernels", lambda: NAMES)
    assert debian.newest("5.10") == "5.10.0-46-cloud-amd64"
    assert debian.newest("6.1") == "6.1.0-56-cloud-amd64"
    assert debian.newest("6.12") == "6.12.118+deb13-cloud-amd64"


def test_packages_that_only_name_others_are_no_kernels():
    assert archive.IMAGE.fullmatch("linux-image-6.1.0-56-cloud-amd64")
    assert not archive.IMAGE.fullmatch("linux-image-6.1-cloud-amd64")
    assert not archive.IMAGE.fullmatch("linux-image-6.1.0-56-cloud-amd64-dbg")


def test_modules_are_loaded_after_those_that_they_need(tmp_path):
    def module(name, depends):
        path = tmp_path / "lib" / f"{name}.ko"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"\0license=GPL\0depends=" + depends + b"\0name=x\0")

    module("virtio-blk", b"virtio,virtio_ring")
    module("virtio_ring", b"virtio")
    module("virtio", b"")
    names = [name for name, _ in initramfs.in_order(tmp_path, ("virtio_blk", "ext4"))]
    assert names == ["virtio", "virtio_ring", "virtio_blk"]


def test_the_archive_has_every_entry_at_a_place_that_the_kernel_reads():
    entries = [("bin", initramfs.DIRECTORY, b""), ("init", initramfs.PROGRAM, b"abcde")]
    packed, found, at = initramfs.cpio(entries), [], 0
    while at < len(packed):
        assert at % 4 == 0 and packed[at:at + 6] == b"070701"
        fields = [int(packed[at + 6 + 8 * n:at + 14 + 8 * n], 16) for n in range(13)]
        name = packed[at + 110:at + 109 + fields[11]].decode()
        start = at + 110 + fields[11]
        start += -start % 4
        found.append((name, fields[1], packed[start:start + fields[6]]))
        at = start + fields[6]
        at += -at % 4
    assert found == [*entries, ("TRAILER!!!", 0, b"")]


def summary(*reported, trouble=()):
    return table.Summary("6.1", reported, trouble)


def test_a_guest_is_good_if_every_part_ended_and_nothing_failed():
    passed = ["test", ["tests/ring/a.py::b", "call", "passed", 0.1, ""]]
    skipped = ["test", ["tests/ring/a.py::c", "call", "skipped", 0.1, "no such flag"]]
    failed = ["test", ["tests/ring/a.py::b", "teardown", "failed", 0, "E  left"]]
    done = ["part", ["ring", "done", 5]]
    cut = ["part", ["ring", "no time after tests/ring/a.py::b", 5]]
    died = ["died", ["ring", -11, "tests/ring/a.py::b", ""]]
    assert summary(passed, skipped, done).good()
    for bad in ([passed], [passed, cut], [passed, failed, done], [passed, died, done]):
        assert not summary(*bad).good()
    assert not summary(passed, done, trouble=["BUG: soft lockup"]).good()
    text = summary(passed, failed, skipped, done).text()
    assert re.search(r"ring: \{'failed': 1, 'skipped': 1\}", text)
    assert "no such flag" in text and "E  left" in text
