"""HDF5 files of Keras and of transformers' TensorFlow classes. Links to other files are never followed.

HDF5 can point into other files (external links, external storage, virtual datasets) and compress data, so that a small
file becomes a large array. Weights need none of this: all four are rejected. A heap of names with a cyclic list of free
blocks is rejected too, because the HDF5 library would follow it until it runs out of memory.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gptcore.checkpoint.containers.reading import bytes_at, check_inside, damage_reported, occurrences
from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.errors import CheckpointError, GPTError
from gptcore.installation import install_command

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_DEPTH = 16
MAX_ENTRIES = 100_000
MAX_FREE_BLOCKS = 100_000  # a group has one or two
# The start of a file of h5py, by superblock version: addresses and lengths of 8 bytes, addresses from 0.
SUPERBLOCKS = {0: re.compile(rb".{13}\x08\x08.{9}\0{8}", re.DOTALL), 2: re.compile(rb".{9}\x08\x08.\0{8}", re.DOTALL)}
HEAP = re.compile(rb"HEAP\0")  # of a group's names
HEAP_FIELDS = struct.Struct("<QQQ")  # size, first free block, address
FREE_BLOCK = struct.Struct("<QQ")  # next, size
LAST = 1
DTYPES = {np.dtype(kind): name for name, kind in STORAGE.items() if name != "bfloat16"}
HALF_BITS = np.dtype("V2")  # Keras stores bfloat16 as two bytes without a type, and the dtype as an attribute


def read(path: Path) -> list[StoredTensor]:
    """Describe the datasets of a file; the name of each is its path.

    Raises:
        CheckpointError: The file is damaged, or points outside itself.
        GPTError: h5py is not installed.
    """
    h5py = library()
    with damage_reported(path, "HDF5"), path.open("rb") as file:
        _check_heaps(file)
    with damage_reported(path, "HDF5", RuntimeError, AttributeError), h5py.File(path, "r") as file:
        file_size, count, tensors = path.stat().st_size, 0, []
        for count, (name, dataset) in enumerate(_datasets(file, h5py, 0), 1):
            if count > MAX_ENTRIES:
                raise CheckpointError(f"the file has more than {MAX_ENTRIES} datasets")
            if stored := _stored(path, name, dataset, file_size):
                tensors.append(stored)
        return tensors


def write(file: BinaryIO, tensors: Iterable[OutgoingTensor], attributes: Mapping[str, Mapping[str, Any]]) -> None:
    """Write each tensor as a dataset with its name as the path; ``attributes`` holds those of groups by path.

    Tensors are loaded and written one at a time.
    """
    with library().File(file, "w") as root:
        for path, values in attributes.items():
            root.require_group(path).attrs.update(values)
        for tensor in tensors:
            half_bits = tensor.dtype == "bfloat16"
            dtype = HALF_BITS if half_bits else STORAGE[tensor.dtype]
            dataset = root.create_dataset(tensor.name, tensor.shape, dtype)
            dataset[...] = np.frombuffer(tensor.data(), dtype).reshape(tensor.shape)
            if half_bits:
                dataset.attrs["dtype"] = "bfloat16"


def library() -> Any:
    """Import ``h5py``, or raise a ``GPTError`` that says how to install it."""
    try:
        import h5py
    except ImportError as cause:
        raise GPTError(f"HDF5 files need h5py: {install_command('convert')}") from cause
    return h5py


def _check_heaps(file: BinaryIO) -> None:
    """Raise a ``CheckpointError`` if the list of free blocks of a heap is endless."""
    head = bytes_at(file, 0, 64)
    if not SUPERBLOCKS[2 if head[8] > 1 else 0].match(head):
        raise CheckpointError("the file has an unsupported HDF5 superblock")
    count = 0
    for place in occurrences(file, HEAP, 5):
        fields = bytes_at(file, place + 8, HEAP_FIELDS.size)
        if len(fields) < HEAP_FIELDS.size:
            return
        size, block, begin = HEAP_FIELDS.unpack(fields)
        # The library itself reports blocks outside of the heap or the file.
        while block != LAST and block < size and begin + block < 1 << 62:
            fields = bytes_at(file, begin + block, FREE_BLOCK.size)
            if len(fields) < FREE_BLOCK.size:
                break
            block, _ = FREE_BLOCK.unpack(fields)
            count += 1
            if count > MAX_FREE_BLOCKS:
                raise CheckpointError(f"the heaps of the file have more than {MAX_FREE_BLOCKS} free blocks")


def _datasets(group: Any, h5py: Any, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > MAX_DEPTH:
        raise CheckpointError(f"groups are nested more than {MAX_DEPTH} deep")
    for name in group:
        link = group.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink):
            raise CheckpointError(f"{group.name}/{name} is a {type(link).__name__}; only hard links are supported")
        entry = group[name]
        if isinstance(entry, h5py.Group):
            yield from _datasets(entry, h5py, depth + 1)
        elif isinstance(entry, h5py.Dataset):
            yield entry.name.lstrip("/"), entry


def _stored(path: Path, name: str, dataset: Any, file_size: int) -> StoredTensor | None:
    if dataset.external or dataset.is_virtual:
        raise CheckpointError(f"tensor {name!r} is stored in another file, which is not supported")
    if dataset.chunks is not None:
        raise CheckpointError(f"tensor {name!r} is stored in chunks, which is not supported")
    if dataset.shape is None or any(n < 0 for n in dataset.shape):
        return None
    dtype = "bfloat16" if _is_bfloat16(dataset) else DTYPES.get(dataset.dtype, str(dataset.dtype))
    offset, size = dataset.id.get_offset(), math.prod(dataset.shape) * dataset.dtype.itemsize
    if size and (offset is None or dataset.id.get_storage_size() != size):
        raise CheckpointError(f"tensor {name!r} of shape {dataset.shape} must have {size} bytes")
    check_inside(name, offset or 0, size, file_size)
    return StoredTensor.at(path, name, dtype, dataset.shape, offset or 0)


def _is_bfloat16(dataset: Any) -> bool:
    return bool(dataset.dtype == HALF_BITS and str(dataset.attrs.get("dtype")) == "bfloat16")
