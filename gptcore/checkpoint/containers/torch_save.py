"""Files of ``torch.save``: zip archives, and the sequence of pickles that PyTorch wrote before version 1.6.

Pickles can contain code. It is never executed here (see ``pickles``), but callers must still allow pickles.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from gptcore.checkpoint.containers.pickles import MAX_PICKLE_BYTES, Storage, View, load
from gptcore.checkpoint.containers.reading import check_inside, damage_reported
from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.tensors import OutgoingTensor, Region, StoredTensor, row_strides
from gptcore.errors import CheckpointError

KINDS = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
}
KIND_OF = {dtype: kind for kind, dtype in KINDS.items()}
OTHER_SIZES = {
    "ByteStorage": 1,
    "BoolStorage": 1,
    "CharStorage": 1,
    "ShortStorage": 2,
    "IntStorage": 4,
    "LongStorage": 8,
}
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
ALIGNMENT = 64
BIG_ENDIAN = "the numbers are not little-endian"
FOLDER = "archive/"


def read(path: Path) -> list[StoredTensor]:
    """Describe the tensors of a state dict.

    Raises:
        CheckpointError: The file is damaged, compressed, or holds anything but tensors by name.
    """
    with damage_reported(path, "PyTorch", zipfile.BadZipFile, NotImplementedError, EOFError), path.open("rb") as file:
        file_size = path.stat().st_size
        archived = zipfile.is_zipfile(file)
        file.seek(0)
        state, offsets = _archive(file) if archived else _legacy(file)
        return [_stored(path, str(name), view, offsets, file_size) for name, view in _tensors(state)]


def write(file: BinaryIO, tensors: Iterable[OutgoingTensor]) -> None:
    """Write a state dict as ``torch.save`` does; tensors are loaded and written one at a time."""
    tensors = list(tensors)
    with zipfile.ZipFile(file, "w") as archive:
        _add(archive, file, "data.pkl", _pickle(tensors))
        _add(archive, file, "byteorder", b"little")
        for key, tensor in enumerate(tensors):
            _add(archive, file, f"data/{key}", tensor.data())
        _add(archive, file, "version", b"3\n")


def _archive(file: BinaryIO) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The state of a zip archive, and where the bytes of each storage are: offset and size."""
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        if "data.pkl" not in entries:
            raise CheckpointError("the file was not written by torch.save: the zip archive has no data.pkl")
        if len(entries) != len(archive.infolist()):
            raise CheckpointError("the archive has two files with the same name")
        if packed := [name for name, info in entries.items() if info.compress_type != zipfile.ZIP_STORED]:
            raise CheckpointError(f"{packed[0]} is compressed, which torch.save never does")
        if "byteorder" in entries and archive.read(entries["byteorder"]) != b"little":
            raise CheckpointError(BIG_ENDIAN)
        if entries["data.pkl"].file_size > MAX_PICKLE_BYTES:
            raise CheckpointError(
                f"data.pkl must have at most {MAX_PICKLE_BYTES:,} bytes; got {entries['data.pkl'].file_size:,}"
            )
        state = load(io.BytesIO(archive.read(entries["data.pkl"])))
    offsets = {}
    for name, info in entries.items():
        if name.startswith("data/"):
            file.seek(info.header_offset)
            header = struct.unpack("<4s22xHH", file.read(30))
            if header[0] != b"PK\x03\x04":
                raise CheckpointError(f"{name} is not at the offset that the archive states")
            offsets[name[5:]] = (info.header_offset + 30 + header[1] + header[2], info.file_size)
    return state, offsets


def _legacy(file: BinaryIO) -> tuple[Any, dict[str, tuple[int, int]]]:
    """The state of a file from before PyTorch 1.6, and where the bytes of each storage are."""
    stream = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    if (load(stream), load(stream)) != (LEGACY_MAGIC, LEGACY_PROTOCOL):
        raise CheckpointError("the file was not written by torch.save")
    machine = load(stream)
    if isinstance(machine, dict) and machine.get("little_endian") is False:
        raise CheckpointError(BIG_ENDIAN)
    state, keys = load(stream), load(stream)
    sizes = {view.storage.key: view.storage for _, view in _tensors(state)}
    position, offsets = stream.tell(), {}
    for key in map(str, keys):
        file.seek(position)
        (count,) = struct.unpack("<q", file.read(8))
        if key not in sizes or count != sizes[key].count:
            raise CheckpointError(f"storage {key} with {count} numbers does not match any tensor")
        size = count * _item_size(sizes[key])
        offsets[key] = (position + 8, size)
        position += 8 + size
    return state, offsets


def _tensors(state: Any) -> Iterator[tuple[Any, View]]:
    if not isinstance(state, dict):
        raise CheckpointError(f"the file must hold a dict of tensors by name; got {type(state).__name__}")
    for name, value in state.items():
        if not isinstance(value, View):
            raise CheckpointError(
                f"{name!r} must be a tensor; got {type(value).__name__}. Save model.state_dict() by itself."
            )
        yield name, value


def _stored(path: Path, name: str, view: View, offsets: dict[str, tuple[int, int]], file_size: int) -> StoredTensor:
    storage = view.storage
    item_size = _item_size(storage)
    offset, size = offsets[storage.key]
    check_inside(name, offset, size, file_size)
    last = view.offset + sum((n - 1) * stride for n, stride in zip(view.shape, view.strides, strict=True))
    empty = 0 in view.shape
    if size != storage.count * item_size or (not empty and last >= storage.count):
        raise CheckpointError(f"tensor {name!r} of shape {view.shape} exceeds its storage of {size} bytes")
    count = 0 if empty else last + 1 - view.offset
    rows = view.strides == row_strides(view.shape) or count == math.prod(view.shape) <= 1
    if not rows and count != math.prod(view.shape):
        raise CheckpointError(f"tensor {name!r} of shape {view.shape} has overlapping strides {view.strides} or holes")
    region = Region(path, offset + view.offset * item_size, count)
    strides = None if rows else view.strides
    return StoredTensor(path, name, name, KINDS.get(storage.kind, storage.kind), view.shape, (region,), strides)


def _item_size(storage: Storage) -> int:
    if storage.kind in KINDS:
        return STORAGE[KINDS[storage.kind]].itemsize
    if storage.kind not in OTHER_SIZES:
        raise CheckpointError(f"a storage must be one of {', '.join((*KINDS, *OTHER_SIZES))}; got {storage.kind}")
    return OTHER_SIZES[storage.kind]


def _add(archive: zipfile.ZipFile, file: BinaryIO, name: str, data: bytes | memoryview) -> None:
    """Add an entry whose data begin at a multiple of ``ALIGNMENT``, as in files of PyTorch."""
    entry = zipfile.ZipInfo(FOLDER + name)
    entry.file_size = len(data)
    begin = file.tell() + 30 + len(entry.filename) + 4
    entry.extra = b"FB" + struct.pack("<H", -begin % ALIGNMENT) + b"Z" * (-begin % ALIGNMENT)
    with archive.open(entry, "w") as out:
        out.write(data)


def _pickle(tensors: list[OutgoingTensor]) -> bytes:
    """An ``OrderedDict`` of tensors over storages named 0, 1, 2, ..., in protocol 2, which ``torch.save`` uses."""
    out = io.BytesIO()
    out.write(b"\x80\x02ccollections\nOrderedDict\n)R(")
    for key, tensor in enumerate(tensors):
        out.write(_text(tensor.name) + b"ctorch._utils\n_rebuild_tensor_v2\n((")
        out.write(_text("storage") + b"ctorch\n" + KIND_OF[tensor.dtype].encode() + b"\n")
        out.write(_text(str(key)) + _text("cpu") + _integer(math.prod(tensor.shape)) + b"tQ")
        out.write(_integer(0) + _integers(tensor.shape) + _integers(row_strides(tensor.shape)))
        out.write(b"\x89ccollections\nOrderedDict\n)RtR")
    out.write(b"u.")
    return out.getvalue()


def _text(text: str) -> bytes:
    encoded = text.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _integer(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def _integers(values: tuple[int, ...]) -> bytes:
    return b"(" + b"".join(map(_integer, values)) + b"t"
