"""The ladder: what is compared for one case, from hidden states up to every gradient."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gptcore.checkpoint import open_pretrained
from gptcore.checkpoint.dtypes import convert
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.spec.reference import Reference
from gptcore.spec.tolerances import TOLERANCES, gradient_errors, output_error

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """A folder with a checkpoint, ``inputs.npz`` and ``expected.npz``."""

    folder: Path

    @property
    def name(self):
        return self.folder.name

    @functools.cached_property
    def head(self):
        architecture = json.loads((self.folder / "config.json").read_text())["architectures"][0]
        return next(head for head in Head if head.architecture == architecture)

    @functools.cached_property
    def config(self):
        return OpenAIGPTConfig.from_pretrained(self.folder)

    @functools.cached_property
    def inputs(self):
        with np.load(self.folder / "inputs.npz") as arrays:
            return dict(arrays)

    def expected(self, dtype):
        """The reference's outputs and gradients; for half types from the rounded weights."""
        if dtype in ("float32", "float64"):
            with np.load(self.folder / "expected.npz") as arrays:
                return dict(arrays)
        return expectation(self.reference(dtype), self.head, self.inputs)

    def reference(self, dtype):
        source = open_pretrained(self.folder, self.head, dtype)
        weights = {name: convert(array, dtype, "float64") for name, array in source.values()}
        return Reference(self.config, weights, self.head)


def all_cases():
    """Every case folder; none at all would be an error, not an empty suite."""
    cases = [Case(path.parent) for path in sorted(CASES.glob("*/expected.npz"))]
    assert cases, f"no cases in {CASES}; run make_cases.py"
    return cases


def expectation(reference, head, inputs):
    """Outputs (``output/NAME``) and gradients (``gradient/NAME``) of the reference as flat arrays."""
    outputs = flatten(reference.forward(inputs, output_attentions=True, output_hidden_states=True))
    gradients = {}
    if head is not Head.NONE and {"labels", "mc_labels"} & set(inputs):
        gradients = reference.loss_and_gradients(inputs)[1]
    return {f"output/{k}": v for k, v in outputs.items()} | {f"gradient/{k}": v for k, v in gradients.items()}


def flatten(outputs):
    """One entry per array: tuples become ``NAME.0``, ``NAME.1``, ..."""
    flat = {}
    for name, value in outputs.items():
        if isinstance(value, tuple):
            flat |= {f"{name}.{i}": np.asarray(item) for i, item in enumerate(value)}
        else:
            flat[name] = np.asarray(value)
    return flat


@dataclass(frozen=True)
class Quantity:
    """One quantity of a case as a backend computes it: how far it is off, and how far it may be."""

    name: str
    kind: str  # "outputs" or "gradients"
    error: float
    tolerance: float

    @property
    def passed(self):
        """An error that is not a number does not pass."""
        return self.error <= self.tolerance


def failures(backend, case, dtype="float32", attn_implementation="sdpa"):
    """Yield one sentence for each quantity of a case that a backend gets wrong; nothing is a pass.

    What comes after the first mistake is only computed for who asks for it.
    """
    for quantity in quantities(backend, case, dtype, attn_implementation):
        if not quantity.passed:
            yield f"{case.name}: {quantity.name}: error {quantity.error:.3g}, tolerance {quantity.tolerance:.3g}"


def quantities(backend, case, dtype="float32", attn_implementation="sdpa"):
    """Yield every ``Quantity`` of a case: outputs, then losses and gradients if the backend claims them."""
    expected, inputs = case.expected(dtype), case.inputs
    if "gradients" not in backend.capabilities:
        expected = {name: array for name, array in expected.items() if is_output(name)}
        inputs = {name: array for name, array in inputs.items() if not name.endswith("labels")}
    options = {} if attn_implementation == "sdpa" else {"attn_implementation": attn_implementation}
    model = backend.load(case.folder, case.head, dtype=dtype, **options)
    # Without attentions the fused kernel runs, with them the written-out form: both are held to the same numbers.
    for with_attentions in (False, True):
        actual = flatten(model.forward(inputs, output_attentions=with_attentions, output_hidden_states=True))
        wanted = {k.removeprefix("output/"): v for k, v in expected.items() if k.startswith("output/")}
        wanted = {k: v for k, v in wanted.items() if with_attentions or not k.startswith("attentions")}
        yield from compared("outputs", "", dtype, actual, wanted, output_errors)
    wanted = {k.removeprefix("gradient/"): v for k, v in expected.items() if k.startswith("gradient/")}
    if wanted:
        losses, actual = model.loss_and_gradients(case.inputs)
        losses = {name: np.asarray(value) for name, value in losses.items()}
        wanted_losses = {name: expected[f"output/{name}"] for name in losses}
        yield from compared("outputs", "", dtype, losses, wanted_losses, output_errors)
        yield from compared("gradients", "gradient of ", dtype, actual, wanted, gradient_errors)


def is_output(name):
    """Whether an expected array needs no labels."""
    return name.startswith("output/") and not name.endswith("loss")


def compared(kind, prefix, dtype, actual, wanted, errors):
    """A quantity for each array; one that is missing, or that nobody asked for, is infinitely far off."""
    for name in sorted(actual.keys() ^ wanted.keys()):
        yield Quantity(f"{prefix}{name} on one side only", kind, float("inf"), TOLERANCES[dtype, kind])
    both = {name: array for name, array in wanted.items() if name in actual}
    for name, error in errors(actual, both).items():
        yield Quantity(f"{prefix}{name}", kind, error, TOLERANCES[dtype, kind])


def output_errors(actual, expected):
    return {name: output_error(actual[name], array) for name, array in expected.items()}
