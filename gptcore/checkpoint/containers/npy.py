"""NumPy files (``.npy``) of one row of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np

from gptcore.checkpoint.containers.reading import check_inside, damage_reported
from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.tensors import OutgoingTensor, Region
from gptcore.errors import CheckpointError

DTYPES = tuple(name for name in STORAGE if name != "bfloat16")  # NumPy has no bfloat16
HEADER_ERRORS = (SyntaxError, TokenError, MemoryError)
"""Further errors of Python's parser, which NumPy uses for the header."""


def read_row(path: Path) -> tuple[Region, str]:
    """The position of the numbers in a file, and their dtype.

    Raises:
        CheckpointError: The file is damaged, or holds anything but one row of numbers.
    """
    with damage_reported(path, "NumPy", *HEADER_ERRORS), path.open("rb") as file:
        version: Any = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise CheckpointError(f"the file has the unsupported NumPy format {version}")
        shape, _, dtype = readers[version](file)
        names = [name for name in DTYPES if STORAGE[name] == dtype]
        if not names or len(shape) != 1:
            raise CheckpointError(f"the file must hold a row of floating-point numbers; got {dtype} of shape {shape}")
        check_inside(path.name, file.tell(), shape[0] * dtype.itemsize, path.stat().st_size)
        return Region(path, file.tell(), shape[0]), names[0]


def write_row(file: BinaryIO, tensors: Sequence[OutgoingTensor], begin: int, end: int) -> None:
    """Write the numbers from ``begin`` to ``end`` of the concatenated tensors."""
    dtype = STORAGE[tensors[0].dtype]
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (end - begin,)}
    np.lib.format.write_array_header_1_0(file, header)
    position = 0
    for tensor in tensors:
        count = math.prod(tensor.shape)
        first, last = max(begin - position, 0), min(end - position, count)
        if first < last:
            file.write(tensor.data()[first * dtype.itemsize : last * dtype.itemsize])
        position += count
