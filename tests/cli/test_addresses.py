"""A release names the address that it is published at: .ci/addresses writes it."""

import pathlib
import re
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.slowness import PATIENCE_SECONDS

ROOT = pathlib.Path(__file__).resolve().parents[2]
ADDRESS, VERSION = "https://forge.example/owner/name", "v1.2.3"
TARGET = re.compile(r"\]\(([^)]*)\)")


@pytest.fixture
def sources(tmp_path):
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    # Whether a link leads to a folder is looked up.
    for name in ("docs", "examples"):
        (tmp_path / name).mkdir()
    return tmp_path


def run(folder, *arguments):
    return subprocess.run([sys.executable, ROOT / ".ci" / "addresses", *arguments],
                          cwd=folder, text=True, capture_output=True,
                          timeout=PATIENCE_SECONDS)


def test_the_sources_name_no_address():
    assert "urls" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"{ADDRESS}/" not in (ROOT / "README.md").read_text("utf-8")


def test_every_link_of_the_readme_becomes_absolute_and_leads_to_a_file(sources):
    before = TARGET.findall((sources / "README.md").read_text("utf-8"))
    assert run(sources, ADDRESS, VERSION).returncode == 0
    after = TARGET.findall((sources / "README.md").read_text("utf-8"))
    assert len(after) == len(before) > 30
    for old, new in zip(before, after):
        if old.startswith("https://"):
            assert new == old
            continue
        path = old.partition("#")[0]
        kind = ("raw" if path.endswith(".svg") else
                "tree" if (ROOT / path).is_dir() else "blob")
        assert (ROOT / path).exists()
        assert new == f"{ADDRESS}/{kind}/{VERSION}/{old}"


def test_the_project_gets_its_urls(sources):
    assert run(sources, ADDRESS + "/", VERSION).returncode == 0
    settings = tomllib.loads((sources / "pyproject.toml").read_text())
    urls = settings["project"]["urls"]
    assert urls["Source"] == ADDRESS
    assert all(url.startswith(ADDRESS) for url in urls.values())
    again = run(sources, ADDRESS, VERSION)
    assert again.returncode == 1 and "already" in again.stderr


def test_without_an_address_it_changes_nothing(sources):
    assert run(sources, "owner/name", VERSION).returncode == 1
    for name in ("pyproject.toml", "README.md"):
        assert (sources / name).read_text() == (ROOT / name).read_text()


def test_both_builds_of_a_release_write_it():
    workflow = (ROOT / ".github" / "workflows" / "wheels.yml").read_text()
    step = '.ci/addresses "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY" "$GITHUB_REF_NAME"'
    for job in ("wheels", "sdist"):
        own = re.search(rf"^  {job}:\n(.*?)(?=^  \w)", workflow, re.M | re.S)[1]
        assert own.index(step) < own.index("run: python")
