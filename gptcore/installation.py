"""The command that installs an extra, for error messages."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

DISTRIBUTION = "gptcore-models"
"""The name on PyPI, in ``pyproject.toml`` and in ``pip list``; the packages inside keep their own names."""


def install_command(extra: str) -> str:
    """Return the command that installs an extra: from the clone in use, or from PyPI if there is none.

    Args:
        extra: The name of an extra; must be in ``[project.optional-dependencies]`` of ``pyproject.toml``.

    >>> install_command("torch").endswith("[torch]'")
    True
    """
    return f"{_pip()} install {shlex.quote(_requirement(extra))}"


@contextlib.contextmanager
def required(extra: str, reason: str, *modules: str) -> Iterator[None]:
    """Wrap imports: if one of ``modules`` is not installed, the error shows the command that installs it.

    Args:
        extra: The name of the extra that installs the modules.
        reason: What needs the modules; begins the message.
        modules: Names of top-level modules. Any other import error is raised unchanged.

    Raises:
        ModuleNotFoundError: With the name of the module.

    >>> with required("train", "the plot needs matplotlib", "matplotlib_of_tomorrow"):  # doctest: +ELLIPSIS
    ...     import matplotlib_of_tomorrow
    Traceback (most recent call last):
        ...
    ModuleNotFoundError: the plot needs matplotlib: ...
    """
    try:
        yield
    except ModuleNotFoundError as cause:
        if cause.name not in modules:
            raise
        raise ModuleNotFoundError(f"{reason}: {install_command(extra)}", name=cause.name) from cause


def _pip() -> str:
    """``pip`` if it belongs to this environment, else ``PYTHON -m pip``."""
    pip = shutil.which("pip")
    own = pip is not None and Path(pip).parent == Path(sys.executable).parent
    return "pip" if own else f"{shlex.quote(sys.executable)} -m pip"


def _requirement(extra: str) -> str:
    """What pip installs: the clone in use, the place that this copy came from, or the name on PyPI."""
    clone = Path(__file__).parents[1]
    if (clone / "pyproject.toml").is_file():  # not installed at all, or with --editable
        return f"{clone}[{extra}]"
    try:
        record = json.loads(distribution(DISTRIBUTION).read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        record = {}
    name, url = f"{DISTRIBUTION}[{extra}]", record.get("url", "")
    if "vcs_info" in record:
        return f"{name} @ {record['vcs_info']['vcs']}+{url}@{record['vcs_info']['commit_id']}"
    if "archive_info" in record:
        return f"{name} @ {url}"
    address = urlsplit(url)
    folder = Path(url2pathname(address.path))
    is_clone = address.scheme == "file" and (folder / "pyproject.toml").is_file()
    return f"{folder}[{extra}]" if is_clone else name
