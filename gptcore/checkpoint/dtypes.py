"""The four floating-point types of a checkpoint, and exact or correctly rounded conversion between them.

NumPy has no bfloat16, so such values are passed as their bits in ``uint16``, which backends reinterpret without a copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.errors import ConfigError

STORAGE: dict[str, np.dtype[Any]] = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
}


def check_dtype(dtype: str) -> str:
    """Return ``dtype``, or raise a ``ConfigError`` that names the allowed dtypes."""
    if dtype not in STORAGE:
        raise ConfigError(f"dtype must be one of {', '.join(STORAGE)}; got {dtype!r}.")
    return dtype


def dtype_of(array: NDArray[Any]) -> str:
    """The dtype of an array, ``bfloat16`` for bits; raises a ``ConfigError`` if a checkpoint cannot hold it."""
    return check_dtype("bfloat16" if array.dtype == STORAGE["bfloat16"] else array.dtype.name)


def convert(array: NDArray[Any], source: str, target: str) -> NDArray[Any]:
    """Convert between dtypes, rounding to nearest, ties to even; no copy if they are equal.

    >>> bits = convert(np.array([1.00390625], np.float32), "float32", "bfloat16")  # a tie
    >>> convert(bits, "bfloat16", "float32").tolist()
    [1.0]
    """
    if source == target:
        return array
    if source == "bfloat16":
        array = (array.astype(np.uint32) << 16).view(np.float32)
    if target == "bfloat16":
        return _round_to_bfloat16(array)
    with np.errstate(over="ignore", invalid="ignore"):  # overflow gives infinity; signalling NaNs become quiet
        return array.astype(STORAGE[target])


def _round_to_bfloat16(array: NDArray[Any]) -> NDArray[np.uint16]:
    if array.dtype == np.float64:
        array = _to_float32_keeping_odd(array)
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    quiet_nan = (bits >> 16) | 0x40  # rounding up a NaN's payload could make it an infinity
    return np.where(np.isnan(array), quiet_nan, rounded).astype(np.uint16)


def _to_float32_keeping_odd(array: NDArray[np.float64]) -> NDArray[np.float32]:
    """Round float64 to odd, so that rounding again to bfloat16 is the same as rounding once."""
    with np.errstate(over="ignore", invalid="ignore"):
        nearest = array.astype(np.float32)
    overshoot = np.abs(nearest.astype(np.float64)) > np.abs(array)
    toward_zero = np.where(overshoot, np.nextafter(nearest, np.float32(0)), nearest)
    inexact = toward_zero.astype(np.float64) != array
    bits = toward_zero.astype(np.float32).view(np.uint32)
    return np.where(inexact & np.isfinite(array), bits | 1, bits).astype(np.uint32).view(np.float32)
