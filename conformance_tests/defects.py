"""Planted defects: mistakes as data (``defects.toml``), and a copy of a backend that makes one of them."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

PACKAGES = {"torch": "gpt_torch", "tf": "gpt_tf", "flax": "gpt_flax"}


@dataclass(frozen=True)
class Defect:
    """A change (file, right text, wrong text) for each backend.

    Those with a number are the exercises of docs/learn/find-the-bug.md.
    """

    case: str
    changes: dict[str, list[str]]
    dtype: str = "float32"
    attn_implementation: str = "sdpa"
    exercise: int | None = None
    first_difference: str | None = None


def read_defects(folder):
    """All defects of ``defects.toml`` in a folder, by name."""
    table = tomllib.loads((folder / "defects.toml").read_text())
    defects = {}
    for name, entry in table.items():
        shared = entry.pop("everywhere", None)
        changes = {backend: shared or entry.pop(backend) for backend in PACKAGES}
        defects[name] = Defect(changes=changes, **entry)
    return defects


serial = itertools.count()


def planted(backend: str, change: list[str] | None, folder: Path):
    """The backend in a copy of its package, with one text changed, imported under a name of its own."""
    name = f"planted_{PACKAGES[backend]}_{next(serial)}"
    write_copy(backend, change, folder / name)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(f"{name}.backend").BACKEND
    finally:
        sys.path.remove(str(folder))


def write_copy(backend: str, change: list[str] | None, target: Path):
    """Copy the package of a backend to a new folder, which gives the copy its name, and change one text."""
    package, name = PACKAGES[backend], target.name
    source = Path(importlib.util.find_spec(package).origin).parent
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    for path in target.glob("*.py"):
        text = path.read_text().replace(package, name).replace('package="gptcore"', f'package="{name}"')
        if change and path.stem == change[0]:
            _, right, wrong = change
            assert right in text, f"{path.name} no longer has {right!r}; write the defect anew"
            text = text.replace(right, wrong)
        path.write_text(text)
