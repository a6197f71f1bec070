"""``verify``: run a checkpoint through every backend and the float64 reference, and compare the results."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.backends import Arrays, Backend, BackendModel
from gptcore.checkpoint import open_pretrained
from gptcore.checkpoint.dtypes import convert
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.spec.reference import Reference
from gptcore.spec.tolerances import EPSILON, TOLERANCES, gradient_errors, output_error


@dataclass(frozen=True)
class Error:
    """The difference of one quantity between a backend and the reference, or between two backends.

    Attributes:
        quantity: ``logits``, ``loss`` or ``gradients``.
        largest: Largest absolute difference (gradients: in units of each tensor's largest entry).
        typical: Root mean square of the differences.
        scaled: The largest difference, in the units of ``gptcore.spec.tolerances``; compared with ``tolerance``.
        tolerance: From ``gptcore.spec.tolerances``.
    """

    quantity: str
    largest: float
    typical: float
    scaled: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the tolerance holds; a value that is not finite never passes."""
        return self.scaled <= self.tolerance

    @property
    def epsilons(self) -> float:
        """``largest`` in units of the float32 epsilon."""
        return self.largest / EPSILON["float32"]


@dataclass
class BackendReport:
    """The results of one backend."""

    name: str
    versions: dict[str, str]
    seconds: float = 0.0
    errors: list[Error] = field(default_factory=list)
    not_claimed: tuple[str, ...] = ()
    """Quantities that the backend does not claim to compute."""
    first_difference: str | None = None
    """If a tolerance is exceeded: the first layer that is outside it, as ``first_difference`` names it, or the loss, or
    the parameter nearest to the output whose gradient is."""


@dataclass
class Report:
    """The outcome of ``verify``."""

    checkpoint: str
    parameters: int
    shape: tuple[int, int]
    dtype: str
    backends: list[BackendReport]
    pairwise: dict[tuple[str, str], Error]

    @property
    def passed(self) -> bool:
        """Whether at least one quantity was compared and every tolerance holds."""
        own = [error.passed for backend in self.backends for error in backend.errors]
        return bool(own) and all(own) and all(error.passed for error in self.pairwise.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "checkpoint": self.checkpoint,
            "parameters": self.parameters,
            "batch": self.shape[0],
            "tokens": self.shape[1],
            "dtype": self.dtype,
            "passed": self.passed,
            "backends": [
                {
                    "name": backend.name,
                    "versions": backend.versions,
                    "seconds": backend.seconds,
                    "errors": {error.quantity: _error_dict(error) for error in backend.errors},
                    "not_claimed": list(backend.not_claimed),
                    "first_difference": backend.first_difference,
                }
                for backend in self.backends
            ],
            "pairwise": {f"{a}-{b}": _error_dict(error) for (a, b), error in self.pairwise.items()},
        }


def verify(
    checkpoint: str | Path,
    backends: Sequence[Backend],
    *,
    dtype: str = "float32",
    batch: int = 2,
    length: int | None = None,
    gradients: bool = True,
    seed: int = 0,
    **location: Any,
) -> Report:
    """Run a checkpoint's language model through backends and the reference, on the same random ids.

    Args:
        checkpoint: A folder, or ``owner/name`` on the hub.
        backends: The backends to compare. Loss and gradients are compared for those that support ``gradients``.
        dtype: The dtype of the backends' weights; the reference uses the same rounded values in float64. Default:
            ``float32``.
        batch: Number of rows of ids. Default: 2.
        length: Number of tokens per row. Default: as many as fit, at most 512.
        gradients: Whether to compare the gradient of every parameter. Default: true.
        seed: Random seed of the ids. Default: 0.
        location: ``revision``, ``cache_dir``, ``local_files_only``, ``token``, ``allow_pickle``.

    Raises:
        CheckpointError, StorageError, InputError: The checkpoint cannot be read or the ids do not fit it.
    """
    source = open_pretrained(checkpoint, Head.LM, dtype, **location)
    weights = {name: convert(array, source.dtype, "float64") for name, array in source.values()}
    ids = sample_ids(source.config, batch, length, seed)
    inputs = {"input_ids": ids, "labels": ids}
    oracle = Reference(source.config, weights, Head.LM)
    expected = oracle.forward(inputs)
    expected_gradients = oracle.loss_and_gradients(inputs)[1] if gradients else {}
    reports, logits = [], {}
    for backend in backends:
        report = BackendReport(backend.name, backend.versions())
        learns = "gradients" in backend.capabilities
        start = time.perf_counter()
        model = backend.load(checkpoint, Head.LM, dtype=dtype, **location)
        actual = model.forward(inputs if learns else {"input_ids": ids})
        actual_gradients = model.loss_and_gradients(inputs)[1] if learns and gradients else {}
        report.seconds = time.perf_counter() - start
        logits[backend.name] = actual["logits"]
        report.errors.append(_output("logits", actual, expected, dtype))
        if not learns:
            report.not_claimed = ("loss", "gradients") if gradients else ("loss",)
        else:
            report.errors.append(_output("loss", actual, expected, dtype))
        of_parameters: dict[str, float] = {}
        if learns and gradients:
            of_parameters = gradient_errors(actual_gradients, expected_gradients)
            report.errors.append(_gradients(of_parameters, dtype))
        failed = [error.quantity for error in report.errors if not error.passed]
        if "logits" in failed:
            report.first_difference = first_difference(model, {"input_ids": ids}, oracle, dtype)
        elif "loss" in failed:
            report.first_difference = "loss"
        elif failed:
            tolerance = TOLERANCES[dtype, "gradients"]
            wrong = [name for name, error in of_parameters.items() if not error <= tolerance]
            report.first_difference = (
                f"gradient of {wrong[-1]}"  # gradients come from the output: the last is the first
            )
        reports.append(report)
    pairwise = {
        (a, b): _output("logits", {"logits": logits[a]}, {"logits": logits[b]}, dtype)
        for a, b in itertools.combinations(logits, 2)
    }
    size = sum(array.size for array in weights.values())
    return Report(str(checkpoint), size, (ids.shape[0], ids.shape[1]), dtype, reports, pairwise)


def first_difference(model: BackendModel, inputs: Arrays, oracle: Reference, dtype: str) -> str:
    """Find the first layer whose output is outside the tolerance, for a model whose logits are.

    The hidden states come from the attention that the model uses by default. With ``output_attentions`` a backend may
    compute attention in another way (eager instead of fused), which may be right where the default is wrong.

    Returns:
        ``embedding``, ``attention of block N``, ``attention of block N, but not with output_attentions``,
        ``output of block N`` (N as in ``h.N`` of the parameters), ``head``, or ``logits`` if the backend gives no
        hidden states.
    """
    expected = oracle.forward(inputs, output_attentions=True, output_hidden_states=True)
    actual = model.forward(inputs, output_hidden_states=True)
    if "hidden_states" not in actual:
        return "logits"
    layer = _first_wrong(actual["hidden_states"], expected["hidden_states"], dtype)
    if layer is None:
        return "head"
    if layer == 0:
        return "embedding"
    block = layer - 1
    eager = model.forward(inputs, output_attentions=True, output_hidden_states=True)
    wrong_attention = _first_wrong(eager.get("attentions", ()), expected["attentions"], dtype)
    if wrong_attention == block:
        return f"attention of block {block}"
    if _first_wrong(eager["hidden_states"][: layer + 1], expected["hidden_states"], dtype) is None:
        return f"attention of block {block}, but not with output_attentions"
    return f"output of block {block}"


def _first_wrong(actual: Sequence[NDArray[Any]], expected: Sequence[NDArray[Any]], dtype: str) -> int | None:
    tolerance = TOLERANCES[dtype, "outputs"]
    pairs = enumerate(zip(actual, expected, strict=False))  # a backend may give fewer
    return next((i for i, (ours, theirs) in pairs if not output_error(ours, theirs) <= tolerance), None)


def sample_ids(config: OpenAIGPTConfig, batch: int, length: int | None, seed: int) -> NDArray[np.int64]:
    """Random token ids, (batch, length), with the first and the last of the vocabulary among them."""
    length = min(config.n_positions, 512) if length is None else length
    ids = np.random.default_rng(seed).integers(0, config.vocab_size, (batch, length), dtype=np.int64)
    ids.flat[0], ids.flat[-1] = 0, config.vocab_size - 1
    return ids


def _output(quantity: str, actual: dict[str, Any], expected: dict[str, Any], dtype: str) -> Error:
    a, b = np.asarray(actual[quantity], np.float64), np.asarray(expected[quantity], np.float64)
    difference = np.abs(a - b)
    return Error(
        quantity,
        float(difference.max()),
        float(np.sqrt(np.mean(difference**2))),
        output_error(a, b),
        TOLERANCES[dtype, "outputs"],
    )


def _gradients(of_parameters: dict[str, float], dtype: str) -> Error:
    scaled = list(of_parameters.values())
    typical = float(np.sqrt(np.mean(np.square(scaled))))
    return Error("gradients", max(scaled), typical, max(scaled), TOLERANCES[dtype, "gradients"])


def _error_dict(error: Error) -> dict[str, Any]:
    return {
        "largest": error.largest,
        "typical": error.typical,
        "epsilons": error.epsilons,
        "scaled": error.scaled,
        "tolerance": error.tolerance,
        "passed": error.passed,
    }
