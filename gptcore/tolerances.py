"""How far a backend may be from the float64 reference: one table, dtype x quantity, with its derivation.

Errors are measured as ``max|backend - reference|``, outputs in units of ``max(1, max|reference|)``, gradients in units
of the largest entry of the tensor.

* float32: epsilon is 1.2e-7. A logit of the released model is a dot product of 768 terms behind 24 residual additions;
  rounding errors add up like a random walk, to about 30 epsilon, with a tail of some 100 over 10^7 logits. 2e-5 (168
  epsilon) leaves no room for another formula: the erf GELU alone is 4.7e-4 off per activation. A gradient is summed
  over positions with both signs, but the largest entry of a tensor is a large sum: 1e-5.
  Two operations need a condition. The first is a tanh of the summary head. Every framework computes its derivative as
  1 - tanh(x)^2 from the rounded tanh(x), which has an absolute error of about one epsilon and so a relative error of
  epsilon / (1 - tanh(x)^2). If all scores are saturated, that is the relative error of every gradient behind them: at
  |tanh(x)| = 0.998 it is 260 epsilon, 3e-5. No order of summation avoids it, and exact arithmetic on rounded values
  has it, too. So the bound holds where 1 - tanh(x)^2 is at least 0.5 (2 epsilon), and a test checks that the
  scores of the cases are there. (The tanh inside GELU needs no condition: its error is small beside GELU's own
  derivative at the other units of the layer.)
  The second is ReLU, whose derivative jumps at zero. Where rounding moves an input across, a whole term of the gradient
  comes or goes, whatever the arithmetic: 9 of 3,300 inputs in bfloat16 took 66 % of its bound, and the same run with
  the reference's signs 10 %. An input is off by about one epsilon, so the bounds hold where none is within 3 epsilon
  of zero, and a test checks that, too.
* float64: the same walk with an epsilon of 2.2e-16 stays below 1e-13; 1e-11 admits any order of summation and no
  single-precision step (1e-7).
* bfloat16, float16: every operation rounds its result to 8 or 11 bits (epsilon 7.8e-3, 9.8e-4), and post-LayerNorm
  keeps the relative size. The same walk of 12 roundings per layer gives some 10 epsilon; the reference takes the
  rounded weights, so that this bounds arithmetic alone. A float16 gradient also loses digits below 6e-5, where its
  steps stay 6e-8, and the gradient of a mean over some 50 targets is that small.
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

    Some gradients are zero but for rounding (a bias that shifts all choices alike): a tensor below a millionth of the
    largest entry of all is measured in hundredths of that.

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
