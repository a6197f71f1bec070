"""A virtual environment with one framework, made in a second: it links to what is installed in this one.

    python tests/support/linked.py FOLDER 'gptcore-models[torch]' pytest

The metadata of the distributions say which of them belong, so a requirement that is not declared is missing.
"""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
import venv
from collections import defaultdict
from importlib.metadata import Distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@functools.cache
def installed() -> dict[str, Distribution]:
    """Every distribution of this environment, by canonical name."""
    return {canonicalize_name(found.metadata["Name"]): found for found in distributions()}


def closure(*requirements: str) -> set[str]:
    """The names of all distributions that these requirements bring, from their own metadata."""
    names, done, left = set(), set(), [Requirement(text) for text in requirements]
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        names.add(name)
        for extra in ("", *requirement.extras):
            if (name, extra) in done:
                continue
            done.add((name, extra))
            for text in installed()[name].requires or ():
                needed = Requirement(text)
                if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                    left.append(needed)
    return names


def environment(folder: Path, *requirements: str) -> str:
    """Make a virtual environment with these requirements and nothing else; returns the path of its Python.

    A folder of ``site-packages`` is one link if all distributions with files in it belong, else a link for each file.
    """
    venv.create(folder, symlinks=True)
    places = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", "venv", vars=places))
    belonging = closure(*requirements)
    owners = defaultdict(set)
    for name, found in installed().items():
        for file in found.files or ():
            owners[file.parts[0]].add(name)
    for name in belonging:
        for file in installed()[name].files or ():
            top = file.parts[0]
            path = Path(top) if owners[top] <= belonging else Path(file)
            if top != ".." and not os.path.lexists(site / path):
                (site / path).parent.mkdir(parents=True, exist_ok=True)
                (site / path).symlink_to(installed()[name].locate_file(path))
    return str(folder / "bin" / "python")


if __name__ == "__main__":
    environment(Path(sys.argv[1]), *sys.argv[2:])
