"""Debian's kernels: which there are, and their unpacked packages.

apt gets a configuration and lists of its own, so that nothing of this machine changes.
The archive is the one that this machine's own apt uses.
"""

import os
import re
import subprocess
import time

SUITES = ("bullseye", "bullseye-backports", "bookworm", "bookworm-backports",
          "trixie", "trixie-backports", "sid")
SECURITY = ("bullseye-security", "bookworm-security", "trixie-security")
DAY_SECONDS = 24 * 3600
# For virtual machines: small, and complete but for drivers of hardware.
IMAGE = re.compile(r"linux-image-(\d+\.\d+\.\d.*-cloud-amd64)")


class Archive:
    """Debian's packages, by a private configuration of apt in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.sources = folder / "sources.list"

    def update(self):
        """Fetch the lists, if they are of another day; a suite that the archive does
        not have is left out."""
        fetched = self.folder / "fetched"
        if fetched.exists() and time.time() - fetched.stat().st_mtime < DAY_SECONDS:
            return
        for part in ("lists/partial", "cache/archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        mirrors = own_mirrors()
        lines = [f"deb {mirror} {suite} main"
                 for mirror in mirrors
                 for suite in (SECURITY if "security" in mirror else SUITES)]
        self.sources.write_text("\n".join(lines) + "\n")
        self.apt("apt-get", "update", check=False)
        fetched.touch()

    def kernels(self):
        """The names of all kernels, such as "6.1.0-47-cloud-amd64"."""
        names = self.apt("apt-cache", "pkgnames", "linux-image-").split()
        return [found[1] for found in map(IMAGE.fullmatch, names) if found]

    def newest(self, version):
        """The newest kernel whose version begins so, up to a dot, plus or dash."""
        fitting = [name for name in self.kernels()
                   if re.match(re.escape(version) + r"(?!\d)", name)]
        if not fitting:
            raise LookupError(f"no kernel {version} among {sorted(self.kernels())}")
        return max(fitting, key=in_numbers)

    def unpacked(self, name):
        """The folder of a kernel's packages, with boot/ and lib/modules/."""
        folder = self.folder / "kernels" / name
        if (folder / "complete").exists():
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        for package in self.parts(name):
            self.apt("apt-get", "download", package, cwd=folder)
        for file in folder.glob("*.deb"):
            run("dpkg-deb", "-x", file, folder)
            file.unlink()
        (folder / "complete").touch()
        return folder

    def parts(self, name):
        """The kernel's packages: newer ones have theirs in three."""
        image = f"linux-image-{name}"
        shown = self.apt("apt-cache", "depends", image)
        found = re.findall(r"Depends: (linux-(?:binary|modules|base)-\S+)", shown)
        return [image, *(part for part in found if part.endswith(name))]

    def apt(self, command, *words, **options):
        settings = (f"Dir::Etc::sourcelist={self.sources}",
                    "Dir::Etc::sourceparts=/dev/null",
                    f"Dir::State::lists={self.folder / 'lists'}",
                    f"Dir::Cache={self.folder / 'cache'}",
                    "APT::Architecture=amd64", "APT::Sandbox::User=root",
                    # A mirror may be behind.
                    "Acquire::Check-Valid-Until=false")
        return run(command, "-q", *(f"-o{item}" for item in settings), *words,
                   **options)


def own_mirrors():
    """The archives of this machine's own apt: that of packages, that of security."""
    shown = run("apt-get", "indextargets", "--format", "$(REPO_URI)",
                "Created-By: Packages")
    return list(dict.fromkeys(shown.split()))


def main_mirror():
    return next(mirror for mirror in own_mirrors() if "security" not in mirror)


def in_numbers(name):
    """A key that sorts versions as apt does, as far as kernels go."""
    return [(int(number or -1), word)
            for number, word in re.findall(r"(\d+)|(\D+)", name)]


def run(*command, check=True, cwd=None, env=None):
    """What the command printed; its errors are the failure."""
    done = subprocess.run([os.fspath(word) for word in command], cwd=cwd, env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace")
    if check and done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n"
                           f"{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
