"""safetensors files: every claim of the header is checked before any value is read."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import safetensors

from gptcore.checkpoint.containers.reading import check_size, damage_reported
from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.errors import CheckpointError
from gptcore.release import PRODUCER

CODES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
CODE_OF = {dtype: code for code, dtype in CODES.items()}
METADATA = {"format": "pt", "producer": PRODUCER}  # transformers rejects a file without a format
MAX_HEADER_BYTES = 16 << 20  # the header of the released model has 15 KB


def read(path: Path) -> list[StoredTensor]:
    """Describe the tensors of a safetensors file, in the order of their data.

    Raises:
        CheckpointError: The file cannot be read, or its header does not match its data.
    """
    with damage_reported(path, "safetensors", safetensors.SafetensorError):
        with path.open("rb") as file:
            file_size = path.stat().st_size
            size_field = file.read(8)
            header_size = struct.unpack("<Q", size_field)[0] if len(size_field) == 8 else 0
            if not 2 <= header_size <= min(MAX_HEADER_BYTES, file_size - 8):
                raise CheckpointError(
                    f"the file is not a complete safetensors file: it has {file_size:,} bytes, but its header claims "
                    f"{header_size:,} (at most {MAX_HEADER_BYTES:,} are allowed). Download it again."
                )
            header = json.loads(file.read(header_size), object_pairs_hook=_reject_duplicates)
        with safetensors.safe_open(path, framework="numpy"):
            pass  # the library's own validation: alignment, overlaps, holes
        return _describe(path, header, 8 + header_size, file_size)


def _describe(path: Path, header: Any, start: int, file_size: int) -> list[StoredTensor]:
    if not isinstance(header, dict):
        raise CheckpointError(f"the header must be an object; got {type(header).__name__}")
    header.pop("__metadata__", None)
    tensors, end = [], start
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = (start + offset for offset in entry["data_offsets"])
        shape, code = tuple(entry["shape"]), entry["dtype"]
        dtype = CODES.get(code, code)
        if begin != end or stop > file_size:
            raise CheckpointError(
                f"tensor {name!r} must start at byte {end}; it claims bytes {begin} to {stop} of {file_size}"
            )
        check_size(name, dtype, shape, stop - begin)
        tensors.append(StoredTensor.at(path, name, dtype, shape, begin))
        end = stop
    if end != file_size:
        raise CheckpointError(f"{file_size - end} bytes belong to no tensor")
    return tensors


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    repeated = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if repeated:
        raise CheckpointError(f"the header names {', '.join(map(repr, repeated))} more than once")
    return dict(pairs)


def write(
    file: BinaryIO, tensors: Iterable[OutgoingTensor], provenance: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Write a safetensors file; tensors are loaded and written one at a time."""
    tensors = sorted(tensors, key=lambda t: (-STORAGE[t.dtype].itemsize, t.name))  # wide types first: aligned
    header: dict[str, Any] = {"__metadata__": {**METADATA, **provenance}}
    offset = 0
    for tensor in tensors:
        end = offset + tensor.size
        header[tensor.name] = {
            "dtype": CODE_OF[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    file.write(struct.pack("<Q", len(encoded)) + encoded)
    for tensor in tensors:
        file.write(tensor.data())
