"""Arrays of zarr 2, as Orbax stores them: each in a directory of its own, or all packed in one OCDBT store.

Packed arrays are read with tensorstore, which Orbax uses too and which needs no framework. Only this module, never a
file in the directory, determines which store tensorstore opens and what it expects there. tensorstore opens files of
the directory only: it rejects names with ``..``, and this module rejects links. The keys of a store are never listed,
because a crafted tree may have any number of them: the caller names the arrays.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.checkpoint.containers.ocdbt import MAX_TREE_BYTES, check_nodes
from gptcore.checkpoint.containers.reading import check_size, damage_reported
from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.tensors import OutgoingTensor, Packed, Region, StoredTensor
from gptcore.errors import CheckpointError, GPTError
from gptcore.installation import install_command

OCDBT_NAME = "manifest.ocdbt"
ARRAY_NAME = ".zarray"
CODES = {"<f8": "float64", "<f4": "float32", "<f2": "float16", "bfloat16": "bfloat16"}
CODE_OF = {dtype: code for code, dtype in CODES.items()}
MAX_FILES = 100_000
MAX_DEPTH = 8
MAX_ARRAY_BYTES = 1 << 16  # of a .zarray, which usually has 200
MAX_AXES = 8
MAX_RATIO = 1 << 10  # of unpacked to packed bytes; zstd saves a tenth of weights, but nearly all of constants
LIBRARY_ERRORS = (RuntimeError, MemoryError)


def read(path: Path, packed_names: Callable[[Path], Iterable[str]]) -> list[StoredTensor]:
    """Describe the arrays in a directory; ``packed_names`` returns the names to look for in a packed store.

    Raises:
        CheckpointError: The directory is damaged or incomplete, or points outside itself.
        GPTError: The arrays are packed, and tensorstore or zstandard is not installed.
    """
    libraries = [library("tensorstore"), library("zstandard")] if (path / OCDBT_NAME).exists() else []
    with damage_reported(path, "Orbax", *LIBRARY_ERRORS):
        directory = _open(path.resolve(), packed_names, *libraries)
        names = [key.removesuffix(f"/{ARRAY_NAME}") for key in sorted(directory.keys) if key.endswith(f"/{ARRAY_NAME}")]
        if not names:
            raise CheckpointError("the directory has no zarr 2 array")
        arrays = [_array(directory, name) for name in names]
        claimed, stored = sum(array.unpacked for array in arrays), sum(directory.files.values())
        if claimed > MAX_RATIO * stored:
            raise CheckpointError(f"the arrays claim {claimed:,} bytes, but the files hold only {stored:,}")
        return [_stored(directory, array) for array in arrays]


def write_array(folder: Path, tensor: OutgoingTensor) -> None:
    """Write an array into a new folder: one chunk, without compression."""
    folder.mkdir()
    metadata = _metadata(CODE_OF[tensor.dtype], tensor.shape, tensor.shape, None)
    (folder / ARRAY_NAME).write_bytes(json.dumps(metadata).encode())
    (folder / _chunk_name((0,) * len(tensor.shape))).write_bytes(tensor.data())


def library(name: str) -> Any:
    """Import a library that packed arrays need, or raise a ``GPTError`` that says how to install it."""
    try:
        return import_module(name)
    except ImportError as cause:
        raise GPTError(f"packed Orbax checkpoints need {name}: {install_command('convert')}") from cause


@dataclass(frozen=True)
class _Directory:
    """The keys and values of a directory: its files, or the entries that are packed in them."""

    path: Path
    files: Mapping[str, int]  # sizes by name
    store: Any  # of tensorstore; None if each key is a file
    keys: frozenset[str]

    def description(self, name: str) -> Any:
        """The content of the ``.zarray`` of an array."""
        key = f"{name}/{ARRAY_NAME}"
        with damage_reported(self.path / key, "JSON", *LIBRARY_ERRORS):
            if self.store is None:
                with (self.path / key).open("rb") as file:
                    value = file.read(MAX_ARRAY_BYTES + 1)
            else:
                value = self.store.read(key).result().value
            if len(value) > MAX_ARRAY_BYTES:
                raise CheckpointError(f"the file has more than {MAX_ARRAY_BYTES} bytes")
            return json.loads(value)

    def spec(self, name: str) -> dict[str, Any]:
        """The specification with which tensorstore opens an array."""
        base = {"driver": "file", "path": f"{self.path}/"}
        if self.store is None:
            return {**base, "path": f"{self.path}/{name}/"}
        return {"driver": "ocdbt", "base": base, "path": f"{name}/"}


@dataclass(frozen=True)
class _Array:
    """The checked content of a ``.zarray``."""

    name: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    code: str
    compressor: Any

    @property
    def item_size(self) -> int:
        return STORAGE[CODES[self.code]].itemsize if self.code in CODES else 1

    @property
    def unpacked(self) -> int:
        """The size of its unpacked chunks in bytes; chunks at the edges may extend beyond the array."""
        return math.prod(self.grid) * math.prod(self.chunks) * self.item_size

    @property
    def grid(self) -> list[int]:
        """The number of chunks along each axis."""
        return [-(-size // chunk) for size, chunk in zip(self.shape, self.chunks, strict=True)]

    def chunk_keys(self) -> Iterable[str]:
        return (f"{self.name}/{_chunk_name(place)}" for place in product(*map(range, self.grid)))


def _open(
    path: Path, packed_names: Callable[[Path], Iterable[str]], tensorstore: Any = None, zstandard: Any = None
) -> _Directory:
    files = dict(_files(path))
    if tensorstore is None:
        return _Directory(path, files, None, frozenset(files))
    check_nodes((path / name for name in files), zstandard)
    base = {"driver": "file", "path": f"{path}/"}
    # With a cache, each node is unpacked once, however many keys it has.
    cache = {"total_bytes_limit": MAX_TREE_BYTES}
    store = tensorstore.KvStore.open({"driver": "ocdbt", "base": base, "cache_pool": cache}).result()
    keys = (f"{name}/{ARRAY_NAME}" for name in packed_names(path))
    return _Directory(path, files, store, frozenset(key for key in keys if store.read(key).result().state == "value"))


def _files(folder: Path) -> Iterable[tuple[str, int]]:
    """Name and size of each file of a directory, which must hold files and directories only."""
    count, folders = 0, [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                count += 1
                name = Path(entry.path).relative_to(folder)
                if count > MAX_FILES or len(name.parts) > MAX_DEPTH:
                    raise CheckpointError(
                        f"the directory has more than {MAX_FILES} files, or is more than {MAX_DEPTH} directories deep"
                    )
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    yield name.as_posix(), entry.stat(follow_symlinks=False).st_size
                else:
                    raise CheckpointError(f"{name.as_posix()} is a link or not a regular file")


def _array(directory: _Directory, name: str) -> _Array:
    claim = directory.description(name)
    if not isinstance(claim, dict):
        raise CheckpointError(f"the {ARRAY_NAME} of {name!r} must be an object; got {type(claim).__name__}")
    shape, chunks = _sizes(name, claim.get("shape"), 0), _sizes(name, claim.get("chunks"), 1)
    code, compressor = claim.get("dtype"), claim.get("compressor")
    if len(shape) != len(chunks) or not isinstance(code, str):
        raise CheckpointError(f"tensor {name!r} has inconsistent shape {shape}, chunks {chunks} and dtype {code!r}")
    if compressor is not None and not (isinstance(compressor, dict) and compressor.get("id") == "zstd"):
        raise CheckpointError(f"tensor {name!r} must be compressed with zstd or not at all; got {compressor!r:.60}")
    expected = _metadata(code, shape, chunks, compressor)
    if unexpected := sorted(key for key, value in expected.items() if key != "fill_value" and claim.get(key) != value):
        value = claim.get(unexpected[0])
        raise CheckpointError(f"tensor {name!r} has the {unexpected[0]} {value!r:.60}, which Orbax never writes")
    array = _Array(name, shape, chunks, code, compressor and {"id": "zstd", "level": 1})
    if directory.store is None and not (
        math.prod(array.grid) <= len(directory.keys) and directory.keys.issuperset(array.chunk_keys())
    ):
        raise _lacks_values(array)
    return array


def _lacks_values(array: _Array) -> CheckpointError:
    return CheckpointError(
        f"tensor {array.name!r} of shape {array.shape} lacks values (old versions of Orbax left out zeros)"
    )


def _sizes(name: str, sizes: Any, least: int) -> tuple[int, ...]:
    if not isinstance(sizes, list) or len(sizes) > MAX_AXES:
        raise CheckpointError(f"tensor {name!r} must have at most {MAX_AXES} sizes; got {sizes!r:.60}")
    if not all(type(size) is int and least <= size < 1 << 40 for size in sizes):
        raise CheckpointError(f"tensor {name!r} has invalid sizes: {sizes!r:.60}")
    return tuple(sizes)


def _stored(directory: _Directory, array: _Array) -> StoredTensor:
    dtype, count = CODES.get(array.code, array.code), math.prod(array.shape)
    whole = directory.store is None and array.compressor is None and array.chunks == array.shape
    region: Region | Packed
    if whole and dtype in STORAGE:
        (key,) = array.chunk_keys()
        check_size(array.name, dtype, array.shape, directory.files[key])
        region = Region(directory.path / key, 0, count)
    else:
        region = Packed(directory.path, count, partial(_unpack, directory, array))
    return StoredTensor(directory.path, array.name, array.name, dtype, array.shape, (region,))


def _unpack(directory: _Directory, array: _Array, dtype: np.dtype[Any]) -> NDArray[Any]:
    """The numbers of an array in C order."""
    tensorstore = library("tensorstore")
    with damage_reported(directory.path / array.name, "Orbax", *LIBRARY_ERRORS):
        spec = {
            "driver": "zarr",
            "kvstore": directory.spec(array.name),
            "metadata": _metadata(array.code, array.shape, array.chunks, array.compressor),
            "assume_metadata": True,  # so that only checked metadata are used
            "fill_missing_data_reads": False,
        }
        try:
            values = tensorstore.open(spec, open=True, read=True).result().read(order="C").result()
        except ValueError as error:
            if "NOT_FOUND" in str(error):
                raise _lacks_values(array) from error
            raise
        return np.ascontiguousarray(values).reshape(-1).view(dtype)


def _metadata(code: str, shape: tuple[int, ...], chunks: tuple[int, ...], compressor: Any) -> dict[str, Any]:
    """The content of a ``.zarray``."""
    return {
        "zarr_format": 2,
        "shape": list(shape),
        "chunks": list(chunks),
        "dtype": code,
        "compressor": compressor,
        "fill_value": None,
        "filters": None,
        "order": "C",
        "dimension_separator": ".",
    }


def _chunk_name(place: tuple[int, ...]) -> str:
    return ".".join(map(str, place)) or "0"
