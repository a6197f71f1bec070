"""Which results of frameworks count as the same, and how a block for PyTorch reads in the other two."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gptcore.spec import TOLERANCES, output_error

TITLES = {"torch": "PyTorch", "tf": "Keras", "flax": "Flax"}
SHARED = "All"
PREFIXES = {"torch": "", "tf": "TF", "flax": "Flax"}
TENSORS = {"torch": "pt", "tf": "tf", "flax": "jax"}
LIBRARIES = ("torch", "tensorflow", "jax", "jaxlib", "numpy")  # whose arrays are compared
TOLERANCE = TOLERANCES["float32", "outputs"]
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")
MARK = re.compile(rf"# ({'|'.join([*TITLES.values(), SHARED])}):")


@dataclass
class Result:
    """What a block printed, drew and named."""

    text: str = ""
    error: str = ""
    pictures: list[bytes] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def translated(code: str, framework: str) -> str:
    """The code of one framework, from a block for PyTorch.

    >>> translated('from gpt_torch import OpenAIGPTModel', "flax")
    'from gpt_flax import FlaxOpenAIGPTModel'
    >>> translated("# Keras:\\nmodel.compile()\\n# All:\\nprint(1)", "torch")
    'print(1)'
    """
    lines, target = [], SHARED
    for line in code.splitlines():
        if mark := MARK.fullmatch(line.strip()):
            target = mark[1]
        elif target in (SHARED, TITLES[framework]):
            lines.append(_renamed(line, framework) if target == SHARED else line)
    return "\n".join(lines)


def _renamed(line: str, framework: str) -> str:
    line = re.sub(r"\bOpenAIGPT(?!Tokenizer|Config)(?=[A-Z])", f"{PREFIXES[framework]}OpenAIGPT", line)
    line = line.replace("gpt_torch", f"gpt_{framework}").replace('"torch"', f'"{framework}"')
    return line.replace('return_tensors="pt"', f'return_tensors="{TENSORS[framework]}"')


def float_arrays(names: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The tensors of any framework among the public names of a block that hold floating-point numbers, as arrays."""
    arrays = {}
    for name, value in names.items():
        if name.startswith("_") or type(value).__module__.partition(".")[0] not in LIBRARIES:
            continue
        try:
            array = np.asarray(value.detach() if hasattr(value, "detach") else value)
        except (TypeError, ValueError, RuntimeError):  # functions, classes, abstract values
            continue
        if array.dtype.kind == "f":
            arrays[name] = array
    return arrays


def blocks(page: str) -> list[str]:
    """The code of the ``frameworks`` directives of a page, without their options."""
    matches = re.findall(r"^(`{3,})\{frameworks\}\n((?::.*\n)*)(.*?)^\1$", page, re.DOTALL | re.MULTILINE)
    return [code for _, _, code in matches]


def differences(results: dict[str, Result]) -> list[str]:
    """How the results of frameworks differ: in what they print, or in an array beyond the tolerance.

    >>> differences({"torch": Result("loss 2.0091"), "tf": Result("loss 2.0090"), "flax": Result("loss 2.5")})
    ["flax prints 'loss 2.5', torch 'loss 2.0091'"]
    """
    first, *others = results
    texts = []
    for other in others:
        ours, theirs = results[first], results[other]
        if not same_text(ours.text, theirs.text):
            texts.append(f"{other} prints {theirs.text!r}, {first} {ours.text!r}")
        if ours.arrays.keys() != theirs.arrays.keys():
            texts.append(f"{other} names the arrays {sorted(theirs.arrays)}, {first} {sorted(ours.arrays)}")
        for name in ours.arrays.keys() & theirs.arrays.keys():
            error = output_error(theirs.arrays[name], ours.arrays[name])
            if not error <= 2 * TOLERANCE:  # each may be off by the tolerance
                texts.append(f"{name} of {other} differs from {first} by {error:.1e}")
    return texts


def same_text(a: str, b: str) -> bool:
    """Whether two texts agree but for rounding in their numbers.

    >>> same_text("loss 2.0091", "loss 2.0090"), same_text("loss 2.0091", "loss 2.0081")
    (True, False)
    """
    if NUMBER.sub("#", a) != NUMBER.sub("#", b):
        return False
    pairs = zip(NUMBER.findall(a), NUMBER.findall(b), strict=True)
    return all(abs(float(x) - float(y)) <= _room(x) for x, y in pairs)


def _room(number: str) -> float:
    """How far apart two results may print: the tolerance, and one unit in the last digit."""
    digits, _, exponent = number.partition("e")
    last = 10.0 ** (int(exponent or 0) - len(digits.partition(".")[2]))
    return 2 * TOLERANCE * max(1.0, abs(float(number))) + 1.01 * last
