"""The release of OpenAI: all parameters behind each other in ``params_0.npy`` to ``params_9.npy``, and their shapes."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np

from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.formats.reading import check_inside, damage_reported
from gptcore.checkpoint.tensors import OutgoingTensor, Region, StoredTensor
from gptcore.errors import CheckpointError

SHAPES_NAME = "params_shapes.json"
FILES = tuple(f"params_{i}.npy" for i in range(10))
MAX_SHAPES_BYTES = 1 << 20
MAX_TENSORS = 100_000
HEADER_ERRORS = (SyntaxError, TokenError, MemoryError)
"""Further errors of Python's parser, which NumPy uses for the header."""


def read(files: Sequence[Path], shapes_file: Path, names: Sequence[str]) -> list[StoredTensor]:
    """The parameters in the order of the file, which are named by ``names``.

    Raises:
        CheckpointError: shapes and numbers disagree, or a file holds anything but one row of numbers.
    """
    shapes = read_shapes(shapes_file)
    if len(shapes) != len(names):
        raise CheckpointError(f"{shapes_file} must have {len(names)} shapes; found {len(shapes)}")
    left = [_numbers(path) for path in files]
    dtypes = sorted({dtype for _, dtype in left})
    have, wanted = sum(region.count for region, _ in left), sum(map(math.prod, shapes))
    if len(dtypes) != 1 or have != wanted:
        raise CheckpointError(
            f"{shapes_file} describes {wanted} numbers, but the files hold {have} ({', '.join(dtypes)})"
        )
    size, regions, tensors = STORAGE[dtypes[0]].itemsize, [region for region, _ in left], []
    for name, shape in zip(names, shapes, strict=True):
        parts, missing = [], math.prod(shape)
        while missing:
            first = regions.pop(0)
            taken = min(missing, first.count)
            parts.append(Region(first.path, first.offset, taken))
            missing -= taken
            if first.count > taken:
                regions.insert(0, Region(first.path, first.offset + taken * size, first.count - taken))
        tensors.append(StoredTensor(shapes_file, name, name, dtypes[0], shape, tuple(parts)))
    return tensors


def read_shapes(path: Path) -> list[tuple[int, ...]]:
    """The shapes of all parameters, in order."""
    with damage_reported(path, "JSON"):
        if path.stat().st_size > MAX_SHAPES_BYTES:
            raise CheckpointError(f"more than {MAX_SHAPES_BYTES} bytes")
        shapes = json.loads(path.read_bytes())
        if not isinstance(shapes, list) or not 0 < len(shapes) < MAX_TENSORS:
            raise CheckpointError("not a list of shapes")
        for shape in shapes:
            if not isinstance(shape, list) or not all(type(n) is int and 0 < n < 1 << 31 for n in shape):
                raise CheckpointError(f"{shape!r} is not a shape")
        return [tuple(shape) for shape in shapes]


def write_file(file: BinaryIO, tensors: Sequence[OutgoingTensor], begin: int, end: int) -> None:
    """Write the numbers ``begin`` to ``end`` of all tensors behind each other."""
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


def _numbers(path: Path) -> tuple[Region, str]:
    """Where the numbers of a .npy file are, and of which type."""
    with damage_reported(path, "NumPy", *HEADER_ERRORS), path.open("rb") as file:
        version: Any = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise CheckpointError(f"unsupported version {version} of the format")
        shape, _, dtype = readers[version](file)
        names = [name for name, kind in STORAGE.items() if kind == dtype and name != "bfloat16"]
        if not names or len(shape) != 1:
            raise CheckpointError(f"must hold a row of floating-point numbers; found {dtype} of shape {shape}")
        check_inside(path.name, file.tell(), shape[0] * dtype.itemsize, path.stat().st_size)
        return Region(path, file.tell(), shape[0]), names[0]
