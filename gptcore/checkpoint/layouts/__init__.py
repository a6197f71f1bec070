"""Foreign names of the parameter table: declarative tables, read in both directions.

A table, ``ROWS``, maps each canonical name to (foreign name, named transform). ``{}`` stands for the layer in both.
Names that only one format has are in its file in ``formats``. The tables here are shared by several formats, or by a
format and a backend.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from gptcore.spec.parameters import Parameter

Rows = Mapping[str, tuple[str, str]]

TRANSFORMS: Mapping[str, Callable[[Any], Any]] = {
    "same": lambda array: array,
    "transpose": lambda array: array.T,
    "leading axis": lambda array: array[None],
}
"""Functions from the canonical array to the foreign one."""


def foreign_name(rows: Rows, parameter: Parameter) -> tuple[str, str]:
    """The foreign name of a parameter and the transform that its values take.

    >>> from gptcore.checkpoint.layouts import nnx
    >>> foreign_name(nnx.ROWS, Parameter("h.3.ln_1.weight", (8,), None))
    ('h.3.ln_1.scale', 'same')
    """
    layer = parameter.name.split(".")[1] if parameter.name.startswith("h.") else ""
    template = parameter.name.replace(f"h.{layer}.", "h.{}.", 1) if layer else parameter.name
    name, transform = rows[template]
    return name.format(layer), transform


def canonical_name(rows: Rows, foreign: str) -> tuple[str, str] | None:
    """The inverse of ``foreign_name``; ``None`` for a name that is not in the table.

    >>> from gptcore.checkpoint.layouts import nnx
    >>> canonical_name(nnx.ROWS, "h.3.ln_1.scale")
    ('h.3.ln_1.weight', 'same')
    """
    for canonical, (template, transform) in rows.items():
        pattern = re.escape(template).replace(r"\{\}", r"(0|[1-9]\d{0,5})")
        if match := re.fullmatch(pattern, foreign):
            return canonical.format(*match.groups()), transform
    return None
