"""Fetches a project's sources, with its tests, and makes a venv for them."""

import pathlib
import shutil
import subprocess
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTEST = ("pytest", "pytest-timeout")
# Where the package goes that a stand-in takes the place of.
ORIGINAL = "original"
PIP = ("--quiet", "--disable-pip-version-check")


class NotPrepared(Exception):
    """A project cannot be had here; the text says why."""


def prepare(project, work):
    """Return (folder of the sources, python of the venv); made if need be."""
    home = work / f"{project.name}-{project.version}"
    sources, venv = home / "sources", home / "venv"
    if not (home / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir(parents=True)
        if project.git:
            clone(project, sources)
        else:
            unpack_sdist(project, home, sources)
        make_venv(project, sources, venv)
        drop(project, sources)
        (home / "ready").touch()
    return sources / project.folder, venv / "bin" / "python"


def clone(project, sources):
    command = ["git", "clone", "--quiet", "--depth", "1", "--branch", project.tag]
    run([*command, project.git, str(sources)])


def unpack_sdist(project, home, sources):
    download = [sys.executable, "-m", "pip", "download", *PIP, "--no-deps"]
    wanted = f"{project.name}=={project.version}"
    run([*download, "--no-binary", project.name, "--dest", str(home), wanted])
    (archive,) = home.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(home / "unpacked", filter="data")
    (top,) = (home / "unpacked").iterdir()
    top.rename(sources)


def make_venv(project, sources, venv):
    run([sys.executable, "-m", "venv", str(venv)])
    wanted = [*PYTEST, *project.install]
    if project.git:
        wanted.append(str(sources / project.folder))
    elif not project.sources_only:
        wanted.append(f"{project.name}=={project.version}")
    run([str(venv / "bin" / "python"), "-m", "pip", "install", *PIP, *wanted])
    if not list((ROOT / "uring_loop").glob("_native*.so")):
        raise NotPrepared(f"build in place first: python -m pip install -e {ROOT}")
    # A link, not an installation: the next run tests what has been built since.
    (site,) = venv.glob("lib/python*/site-packages")
    (site / "uring_loop").symlink_to(ROOT / "uring_loop")


def drop(project, sources):
    """Without this, pytest would find the sources before the installed package."""
    for folder in project.drop:
        shutil.rmtree(sources / folder)
    if project.standins:
        (sources / project.name).rename(sources / ORIGINAL)


def run(command):
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        shown = " ".join(command[:6])
        raise NotPrepared(f"{shown} …: {done.stdout.strip()[-1500:]}")
