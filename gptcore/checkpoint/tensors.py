"""Stored and outgoing tensors: what the readers of all formats return and their writers accept.

Nearly every format stores numbers as plain bytes at some offset. A reader finds and checks the offsets. The values are
read later, in the same way for all formats, and need no more memory than the tensor. For packed numbers, the reader
provides a function that unpacks them.
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
    """Consecutive numbers in a file."""

    path: Path
    offset: int  # in bytes
    count: int

    def numbers(self, dtype: np.dtype[Any]) -> NDArray[Any]:
        """A private view of the file: pages are read on access and freed with the array."""
        if not self.count:
            return np.empty(0, dtype)
        return np.memmap(self.path, dtype, "c", self.offset, (self.count,))


@dataclass(frozen=True)
class Packed:
    """Numbers that a library unpacks all at once, in C order."""

    path: Path
    count: int
    numbers: Callable[[np.dtype[Any]], NDArray[Any]]


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file; its values are read on request."""

    path: Path
    name: str  # in the file
    parameter: str  # the canonical name, or the name in the file if its format does not know it
    dtype: str  # one of STORAGE, or the file's own code if no model can hold it (a boolean mask buffer)
    shape: tuple[int, ...]
    regions: tuple[Region | Packed, ...]
    strides: tuple[int, ...] | None = None  # in numbers; None for C order
    form: str = ""  # the format to which the tensor's name belongs; set when a checkpoint is opened

    @classmethod
    def at(cls, path: Path, name: str, dtype: str, shape: tuple[int, ...], offset: int) -> Self:
        """A tensor whose values are contiguous in the file, in C order."""
        return cls(path, name, name, dtype, shape, (Region(path, offset, math.prod(shape)),))

    def transposed(self) -> Self:
        """The same numbers with rows and columns exchanged."""
        strides = self.strides or row_strides(self.shape)
        return replace(self, shape=self.shape[::-1], strides=strides[::-1])

    def undone(self, transform: str) -> Self:
        """The canonical view of a tensor that a format stores transformed (see ``gptcore.checkpoint.layouts``)."""
        if transform == "transpose":
            return self.transposed()
        if transform == "leading axis" and self.shape[:1] == (1,):
            return replace(self, shape=self.shape[1:])
        return self

    def read(self, dtype: str | None = None) -> NDArray[Any]:
        """The values in ``dtype`` (default: as stored), bfloat16 as bits.

        Without a conversion, values in C order are a private view of the file, unless they are packed.

        Raises:
            CheckpointError: The packed values do not match their description.
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
    """A tensor to write. Its values are loaded when they are written, so that one tensor is in memory at a time."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], NDArray[Any]]  # in dtype, bfloat16 as bits

    @classmethod
    def of(cls, name: str, dtype: str, array: NDArray[Any]) -> Self:
        """A tensor whose values are already in memory."""
        return cls(name, dtype, array.shape, lambda: array)

    def done(self, name: str, transform: str) -> OutgoingTensor:
        """The same tensor with the name and the transformed values that a format stores."""
        change = TRANSFORMS[transform]
        shape = change(np.broadcast_to(np.float32(0), self.shape)).shape
        return OutgoingTensor(name, self.dtype, shape, lambda: change(self.load()))

    @property
    def size(self) -> int:
        """Its size in a file, in bytes."""
        return math.prod(self.shape) * STORAGE[self.dtype].itemsize

    def data(self) -> memoryview:
        """Its values as little-endian bytes in C order."""
        return np.ascontiguousarray(self.load(), STORAGE[self.dtype]).reshape(-1).view(np.uint8).data


def row_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of an array in C order, in numbers.

    >>> row_strides((2, 3, 5))
    (15, 5, 1)
    """
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
