"""Stored and outgoing tensors: what the readers of all formats return and their writers accept.

Nearly every format keeps its numbers as plain bytes at some offset. So a reader only has to find and check the
offsets; reading is the same for all of them, lazy, and takes no more memory than the tensor. Where numbers are packed,
the reader says how they are unpacked when their turn comes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gptcore.checkpoint.dtypes import STORAGE, convert
from gptcore.checkpoint.layouts import TRANSFORMS


@dataclass(frozen=True)
class Region:
    """Some numbers in a file, one behind the other."""

    path: Path
    offset: int  # in bytes
    count: int

    def numbers(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """A private view of the file: pages are read when touched and go when the array goes."""
        if not self.count:
            return np.empty(0, dtype)
        return np.memmap(self.path, dtype, "c", self.offset, (self.count,))


@dataclass(frozen=True)
class Packed:
    """Numbers that a library unpacks, row by row and in one piece."""

    path: Path
    count: int
    numbers: Callable[[np.dtype[Any]], NDArray[Any]]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file; its values are read on request."""

    path: Path
    name: str  # in the file
    parameter: str  # the canonical name that the layout of the file gives it
    dtype: str  # one of STORAGE, or the file's own code where no model can hold it (a boolean mask buffer)
    shape: tuple[int, ...]
    regions: tuple[Region | Packed, ...]
    strides: tuple[int, ...] | None = None  # in numbers, where they do not lie row by row
    form: str = ""  # the format that its name is of; set when a checkpoint is opened

    @classmethod
    def at(cls, path: Path, name: str, dtype: str, shape: tuple[int, ...], offset: int) -> Self:
        """A tensor whose values are contiguous in the file, in C order, under its canonical name."""
        return cls(path, name, name, dtype, shape, (Region(path, offset, math.prod(shape)),))

    def transposed(self) -> Self:
        """The same numbers with rows and columns exchanged."""
        strides = self.strides or row_strides(self.shape)
        return replace(self, shape=self.shape[::-1], strides=strides[::-1])

    def undone(self, transform: str) -> Self:
        """The canonical view of a tensor that a layout keeps transformed (see ``gptcore.checkpoint.layouts``)."""
        if transform == "transpose":
            return self.transposed()
        if transform == "leading axis" and self.shape[:1] == (1,):
            return replace(self, shape=self.shape[1:])
        return self

    def read(self, dtype: str | None = None) -> NDArray[Any]:
        """The values in ``dtype`` (default: as stored), bfloat16 as bits.

        As stored and row by row, they are a private view of the file, unless they are packed there.

        Raises:
            CheckpointError: They are packed, and are not what their description says.
        """
        flat = [region.numbers(STORAGE[self.dtype]) for region in self.regions]
        whole = flat[0] if len(flat) == 1 else np.concatenate(flat)
        if self.strides is None:
            array = whole.reshape(self.shape)
        else:
            steps = tuple(step * whole.itemsize for step in self.strides)
            array = np.ascontiguousarray(np.lib.stride_tricks.as_strided(whole, self.shape, steps))
        return convert(array, self.dtype, dtype or self.dtype)


@dataclass(frozen=True)
class OutgoingTensor:
    """A tensor on its way into a file: read when its turn comes, so that one is in memory at a time."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], NDArray[Any]]  # in dtype, bfloat16 as bits

    @classmethod
    def of(cls, name: str, dtype: str, array: NDArray[Any]) -> Self:
        """One that is in memory already."""
        return cls(name, dtype, array.shape, lambda: array)

    def done(self, name: str, transform: str) -> OutgoingTensor:
        """The same tensor under the name and in the shape of a layout."""
        change = TRANSFORMS[transform]
        shape = change(np.broadcast_to(np.float32(0), self.shape)).shape
        return OutgoingTensor(name, self.dtype, shape, lambda: change(self.load()))

    @property
    def size(self) -> int:
        """Bytes that it takes in a file."""
        return math.prod(self.shape) * STORAGE[self.dtype].itemsize

    def data(self) -> memoryview:
        """Its numbers, row by row, in the byte order of files."""
        return np.ascontiguousarray(self.load(), STORAGE[self.dtype]).reshape(-1).view(np.uint8).data


def row_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many numbers lie between neighbours along each axis, row by row.

    >>> row_strides((2, 3, 5))
    (15, 5, 1)
    """
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
