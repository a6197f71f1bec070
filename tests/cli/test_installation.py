"""What error messages tell a user to type."""

import json
import shlex
import sys
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from gptcore import installation
from gptcore.errors import GPTError
from gptcore.installation import DISTRIBUTION, install_command, required

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def in_an_activated_environment(monkeypatch):
    monkeypatch.setattr(installation.shutil, "which", lambda name: str(Path(sys.executable).with_name(name)))


def command(requirement):
    return f"pip install {shlex.quote(requirement)}"


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
    assert install_command("flax") == command(f"{ROOT}[flax]")


@pytest.mark.parametrize("pip", [None, "/usr/bin/pip"])
def test_where_pip_is_another_environments_it_names_this_python(monkeypatch, pip):
    monkeypatch.setattr(installation.shutil, "which", lambda name: pip)
    monkeypatch.setattr(sys, "executable", "/an environment/bin/python")
    assert install_command("flax").startswith("'/an environment/bin/python' -m pip install ")


def test_installed_from_a_clone_it_is_that_clone(installed, tmp_path):
    clone = tmp_path / "a clone"
    clone.mkdir()
    record = json.dumps({"dir_info": {}, "url": clone.as_uri()})
    assert installed(record) == command(f"{DISTRIBUTION}[flax]")  # the folder is not a clone, or no longer
    (clone / "pyproject.toml").touch()
    assert installed(record) == command(f"{clone}[flax]")


@pytest.mark.parametrize(
    ("record", "place"),
    [
        (None, ""),
        ({"url": "file:///wheels/a.whl", "archive_info": {}}, " @ file:///wheels/a.whl"),
        (
            {"url": "https://host/x.git", "vcs_info": {"vcs": "git", "commit_id": "ab1"}},
            " @ git+https://host/x.git@ab1",
        ),
    ],
)
def test_installed_from_elsewhere_it_is_that_place(installed, record, place):
    assert installed(record and json.dumps(record)) == command(f"{DISTRIBUTION}[flax]{place}")


def test_a_copy_without_metadata(installed, monkeypatch):
    installed(None)
    monkeypatch.setattr(installation, "distribution", lambda name: (_ for _ in ()).throw(PackageNotFoundError(name)))
    assert install_command("flax") == command(f"{DISTRIBUTION}[flax]")


def test_only_the_module_itself_is_missing():
    with (
        pytest.raises(ModuleNotFoundError, match=r"^plots need it: pip install ") as caught,
        required("a", "plots need it", "it"),
    ):
        raise ModuleNotFoundError("No module named 'it'", name="it")
    assert caught.value.name == "it"
    for other in (ModuleNotFoundError("No module named 'part'", name="part"), ImportError("libcudart.so.12")):
        with pytest.raises(type(other), match=str(other)), required("a", "plots need it", "it"):
            raise other


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
