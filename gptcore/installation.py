"""The command that installs an extra, for error messages."""

from __future__ import annotations

import json
import shlex
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
    return f"pip install {shlex.quote(f'{_source()}[{extra}]')}"


def _source() -> str:
    """The folder of the clone, if there is one, else the name on PyPI."""
    clone = Path(__file__).parents[1]
    if (clone / "pyproject.toml").is_file():  # not installed at all, or with --editable
        return str(clone)
    try:
        record = distribution(DISTRIBUTION).read_text("direct_url.json")
    except PackageNotFoundError:
        return DISTRIBUTION
    address = urlsplit(json.loads(record)["url"] if record else "")
    folder = Path(url2pathname(address.path))
    is_clone = address.scheme == "file" and (folder / "pyproject.toml").is_file()
    return str(folder) if is_clone else DISTRIBUTION
