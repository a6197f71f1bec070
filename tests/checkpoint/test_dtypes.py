"""Conversion between dtypes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.checkpoint import open_pretrained
from gptcore.checkpoint.dtypes import STORAGE, convert
from gptcore.errors import ConfigError
from gptcore.spec.parameters import Head


@given(st.floats(width=64, allow_subnormal=True))
def test_rounding_to_bfloat16_is_to_nearest_even(value):
    """Against exact neighbours: no bfloat16 is nearer, and at a tie the even one wins."""
    array = np.array([value])
    bits = convert(array, "float64", "bfloat16")
    rounded = float(convert(bits, "bfloat16", "float64")[0])
    if np.isnan(value):
        assert np.isnan(rounded)
        return
    largest = 3.3895313892515355e38
    if abs(value) > largest:
        assert abs(rounded) in (largest, np.inf)
        return
    around = [int(bits[0]) + step for step in (-1, 1) if 0 <= (int(bits[0]) & 0x7FFF) + step <= 0x7F80]
    for neighbour in around:
        other = float(convert(np.array([neighbour], np.uint16), "bfloat16", "float64")[0])
        distance, others = abs(rounded - value), abs(other - value)
        assert distance < others or (distance == others and int(bits[0]) % 2 == 0) or np.isinf(other)


@pytest.mark.parametrize("dtype", list(STORAGE))
def test_upcasting_is_exact(dtype):
    patterns = np.arange(65536, dtype=np.uint16)
    if dtype in ("float16", "bfloat16"):
        wide = convert(patterns.view(STORAGE[dtype]), dtype, "float64")
        back = convert(wide, "float64", dtype).view(np.uint16)
        same = (back == patterns) | np.isnan(wide)
        assert same.all()
    assert convert(np.zeros(3, STORAGE[dtype]), dtype, dtype).dtype == STORAGE[dtype]


def test_unknown_dtypes_are_named(folder):
    with pytest.raises(ConfigError, match=r"dtype must be one of float64, float32.*; got 'int8'"):
        open_pretrained(folder, Head.LM, "int8")
