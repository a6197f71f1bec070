"""What error messages tell a user to type."""

import json
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from gptcore import installation
from gptcore.errors import GPTError
from gptcore.installation import DISTRIBUTION, install_command

ROOT = Path(__file__).parents[2]


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A function (record) -> the hint of a copy in site-packages whose installer left this ``direct_url.json``."""

    class Distribution:
        def __init__(self, record):
            self.read_text = lambda name: record

    def hint(record):
        monkeypatch.setattr(installation, "__file__", str(tmp_path / "site-packages" / "gptcore" / "installation.py"))
        monkeypatch.setattr(installation, "distribution", lambda name: Distribution(record))
        return install_command("flax")

    return hint


def test_in_a_clone_it_is_the_clone():
    assert install_command("flax") == f"pip install '{ROOT}[flax]'"


def test_installed_from_a_clone_it_is_that_clone(installed, tmp_path):
    clone = tmp_path / "a clone"
    clone.mkdir()
    record = json.dumps({"dir_info": {}, "url": clone.as_uri()})
    assert installed(record) == f"pip install '{DISTRIBUTION}[flax]'"  # the folder is not a clone, or no longer
    (clone / "pyproject.toml").touch()
    assert installed(record) == f"pip install '{clone}[flax]'"


@pytest.mark.parametrize("record", [None, json.dumps({"url": "https://example.org/a.whl", "archive_info": {}})])
def test_installed_from_elsewhere_it_is_the_name(installed, record):
    assert installed(record) == f"pip install '{DISTRIBUTION}[flax]'"


def test_a_copy_without_metadata(installed, monkeypatch):
    installed(None)
    monkeypatch.setattr(installation, "distribution", lambda name: (_ for _ in ()).throw(PackageNotFoundError(name)))
    assert install_command("flax") == f"pip install '{DISTRIBUTION}[flax]'"


def test_the_name_is_that_of_the_distribution():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["name"] == DISTRIBUTION
    for requirements in project["optional-dependencies"].values():
        assert not any(requirement.startswith("gptcore[") for requirement in requirements)


def test_the_command_line_shows_what_is_in_brackets(run, monkeypatch):
    def fail(*arguments, **options):
        raise GPTError(install_command("flax"))

    monkeypatch.setattr("gptcore.cli.verify.load_backends", fail)
    status, _, error = run("verify")
    assert status == 2
    assert install_command("flax") in error
