"""How far a backend may be from the float64 reference: one table, dtype x quantity, with its derivation.

Errors are measured as ``max|backend - reference|``, outputs in units of ``max(1, max|reference|)``, gradients in units
of the largest entry of the tensor.

* float32: epsilon is 1.2e-7. A logit of the released model is a dot product of 768 terms behind 24 residual additions;
  rounding errors add up like a random walk, to about 30 epsilon, and up to about 100 among 10^7 logits. 2e-5 (168
  epsilon) is too tight for a wrong formula to pass: the erf GELU alone is 4.7e-4 off per activation. The bound
  for gradients is 1e-5: the terms of a gradient have both signs and may cancel, but the error is measured relative to
  the tensor's largest entry, where they cancel little. At full size, errors of 4e-6 to 8e-6 were measured.

  Two operations need a condition. The first is the tanh of the summary head. Every framework computes its derivative as
  1 - tanh(x)^2 from the rounded tanh(x). The derivative then has an absolute error of about one epsilon, and a relative
  error of epsilon / (1 - tanh(x)^2). If all scores are saturated, every gradient that passes through them has this
  relative error: where the magnitude of tanh(x) is 0.998, it is 260 epsilon, 3e-5. No order of summation avoids it, and
  neither does exact arithmetic on rounded values. The bound therefore holds only where 1 - tanh(x)^2 is at least 0.5
  (2 epsilon); a test checks that the scores of all cases are in that range. (The tanh inside GELU needs no condition:
  its error is small compared with GELU's own derivative at the other units of the layer.)

  The second is ReLU, whose derivative jumps at zero. If rounding moves an input across zero, a whole term of the
  gradient appears or disappears, however exact the arithmetic. In a bfloat16 run, 9 of 3,300 inputs crossed zero and
  the error reached 66 % of the bound; with the reference's signs it was 10 %. An input is off by about one epsilon, so
  the bounds hold if no input is within 3 epsilon of zero; a test checks that, too.

* float64: the same walk with an epsilon of 2.2e-16 stays below 1e-13; 1e-11 admits any order of summation and no
  single-precision step (1e-7).

* bfloat16, float16: every operation rounds its result to 8 or 11 bits (epsilon 7.8e-3, 9.8e-4), and the LayerNorm
  after each addition does not change the relative size of the error. The same walk of 12 roundings per layer gives some
  10 epsilon; the reference uses the same rounded weights, so the bound covers rounding in the arithmetic, not
  in the weights. A float16 gradient also loses digits below 6e-5, where the spacing stays 6e-8, and the gradient of a
  mean over some 50 targets is that small.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7, "float16": 2.0**-10}

TOLERANCES: dict[tuple[str, str], float] = {
    ("float64", "outputs"): 1e-11,
    ("float64", "gradients"): 1e-11,
    ("float32", "outputs"): 2e-5,
    ("float32", "gradients"): 1e-5,
    ("float16", "outputs"): 16 * EPSILON["float16"],
    ("float16", "gradients"): 128 * EPSILON["float16"],
    ("bfloat16", "outputs"): 16 * EPSILON["bfloat16"],
    ("bfloat16", "gradients"): 32 * EPSILON["bfloat16"],
}
"""(dtype, ``"outputs"`` or ``"gradients"``) -> the largest error that a backend may have."""


def output_error(actual: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    """Largest difference, in units of ``max(1, max|expected|)``; infinite if shapes differ or a value is not finite.

    >>> output_error(np.array([1.0, 4.5]), np.array([1.0, 5.0]))
    0.1
    """
    return _largest_difference(actual, expected) / max(1.0, float(np.abs(expected).max(initial=0.0)))


def gradient_errors(
    actual: Mapping[str, NDArray[np.floating]], expected: Mapping[str, NDArray[np.floating]]
) -> dict[str, float]:
    """Largest difference of each tensor, in units of the tensor's largest entry.

    Some gradients are zero except for rounding (such as a bias that shifts all choices alike). If a tensor's largest
    entry is at most a millionth of the largest entry of all tensors, its unit is a hundredth of the latter.

    >>> gradient_errors({"a": np.array([1.0, 4.0])}, {"a": np.array([1.0, 5.0])})
    {'a': 0.2}
    """
    largest = {name: float(np.abs(array).max(initial=0.0)) for name, array in expected.items()}
    of_all = max(largest.values(), default=0.0) or 1.0
    unit = {name: size if size > of_all / 1e6 else of_all / 100 for name, size in largest.items()}
    return {name: _largest_difference(actual[name], expected[name]) / unit[name] for name in expected}


def _largest_difference(actual: NDArray[np.floating], expected: NDArray[np.floating]) -> float:
    if actual.shape != expected.shape or not np.isfinite(actual).all():
        return float("inf")
    return float(np.abs(np.asarray(actual, np.float64) - expected).max(initial=0.0))
