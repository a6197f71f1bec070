"""msgpack files: nested maps of arrays, as ``flax.serialization`` writes them.

Flax's own reader copies every array. This reader walks the maps and records the offset of each array. It accepts maps,
text and arrays only.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from gptcore.checkpoint.containers.reading import check_inside, check_size, damage_reported
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.errors import CheckpointError

ARRAY = 1  # Flax's number for an extension that holds (shape, dtype, bytes)
MAX_DEPTH = 16
MAX_TENSORS = 100_000
MAX_AXES = 8


def begins_map(code: int) -> bool:
    """Whether a byte is the first of a map."""
    return code >> 4 == 0x8 or code in (0xDE, 0xDF)


def read(path: Path) -> list[StoredTensor]:
    """Describe the arrays of a file. The name of an array is its path of keys, joined by dots.

    Raises:
        CheckpointError: The file is damaged, or holds anything but arrays.
    """
    with damage_reported(path, "msgpack"), path.open("rb") as file:
        if path.stat().st_size == 0:
            raise CheckpointError("the file is empty")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            walk = _Walk(path, data)
            tensors = list(walk.entries(()))
            if walk.position != len(data):
                raise CheckpointError(f"{len(data) - walk.position} bytes belong to no tensor")
            return tensors


class _Walk:
    """One pass over the file, from the front."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.position, self.count = path, data, 0, 0  # of arrays

    def take(self, count: int) -> bytes:
        if self.position + count > len(self.data):
            raise ValueError(f"the file ends at byte {len(self.data)}, inside a value")
        self.position += count
        return self.data[self.position - count : self.position]

    def size(self, width: int) -> int:
        """A length of 1, 2 or 4 bytes."""
        return int.from_bytes(self.take(width), "big")

    def entries(self, keys: tuple[str, ...]) -> Iterator[StoredTensor]:
        """Describe the arrays of the map at the position."""
        if len(keys) > MAX_DEPTH:
            raise CheckpointError(f"maps are nested more than {MAX_DEPTH} deep")
        seen = set()
        for _ in range(self.map_length()):
            key = self.text()
            if key in seen:
                raise CheckpointError(f"the name {key!r} occurs twice")
            seen.add(key)
            if begins_map(self.data[self.position]):
                yield from self.entries((*keys, key))
            else:
                yield self.array(".".join((*keys, key)))

    def map_length(self) -> int:
        code = self.size(1)
        if not begins_map(code):
            raise CheckpointError(f"expected a map of names; got 0x{code:02x}")
        if code >> 4 == 0x8:
            return code & 0xF
        return self.size(2 if code == 0xDE else 4)

    def text(self) -> str:
        code = self.size(1)
        if code >> 5 == 0b101:
            length = code & 0x1F
        elif code in (0xD9, 0xDA):
            length = self.size(code - 0xD8)
        else:
            raise CheckpointError(f"expected a name; got 0x{code:02x}")
        return self.take(length).decode()

    def array(self, name: str) -> StoredTensor:
        """Describe the array at the position, and skip it."""
        self.count += 1
        if self.count > MAX_TENSORS:
            raise CheckpointError(f"the file has more than {MAX_TENSORS} arrays")
        code = self.size(1)
        if code in (0xC7, 0xC8, 0xC9):
            length = self.size(1 << (code - 0xC7))
        elif 0xD4 <= code <= 0xD8:
            length = 1 << (code - 0xD4)
        else:
            raise CheckpointError(f"{name!r} is not an array")
        if self.size(1) != ARRAY:
            raise CheckpointError(f"{name!r} must be an array; got another msgpack extension")
        end = self.position + length
        if self.size(1) != 0x93:
            raise CheckpointError(f"{name!r} must consist of a shape, a dtype and numbers")
        shape = tuple(self.integer() for _ in range(self.axes(name)))
        dtype = self.text()
        size = self.binary_length(name)
        check_inside(name, self.position, size, len(self.data))
        check_size(name, dtype, shape, size)
        tensor = StoredTensor.at(self.path, name, dtype, shape, self.position)
        self.position += size
        if self.position != end:
            raise CheckpointError(f"{name!r} has {end - self.position} bytes after its array")
        return tensor

    def axes(self, name: str) -> int:
        code = self.size(1)
        if code >> 4 != 0x9 or code & 0xF > MAX_AXES:
            raise CheckpointError(f"the shape of {name!r} is not a list of at most {MAX_AXES} numbers")
        return code & 0xF

    def integer(self) -> int:
        code = self.size(1)
        if code < 0x80:
            return code
        if code not in (0xCC, 0xCD, 0xCE, 0xCF):
            raise CheckpointError(f"expected a size; got 0x{code:02x}")
        return self.size(1 << (code - 0xCC))

    def binary_length(self, name: str) -> int:
        code = self.size(1)
        if code not in (0xC4, 0xC5, 0xC6):
            raise CheckpointError(f"the numbers of {name!r} are not stored as bytes")
        return self.size(1 << (code - 0xC4))


def write(file: BinaryIO, tensors: Iterable[OutgoingTensor]) -> None:
    """Write nested maps, split at the dots of the names; tensors are loaded and written one at a time."""
    tree: dict[str, object] = {}
    for tensor in tensors:
        *parents, last = tensor.name.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})  # type: ignore[assignment]
        branch[last] = tensor
    _write_map(file, tree)


def _write_map(file: BinaryIO, tree: dict[str, object]) -> None:
    file.write(b"\xdf" + struct.pack(">I", len(tree)) if len(tree) > 15 else bytes([0x80 | len(tree)]))
    for key, value in tree.items():
        file.write(_text(key))
        if isinstance(value, dict):
            _write_map(file, value)
        elif isinstance(value, OutgoingTensor):
            head = b"\x93" + bytes([0x90 | len(value.shape)]) + b"".join(map(_integer, value.shape))
            head += _text(value.dtype) + b"\xc6" + struct.pack(">I", value.size)
            file.write(b"\xc9" + struct.pack(">I", len(head) + value.size) + bytes([ARRAY]) + head)
            file.write(value.data())


def _text(text: str) -> bytes:
    encoded = text.encode()
    return bytes([0xD9, len(encoded)]) + encoded


def _integer(value: int) -> bytes:
    return b"\xce" + struct.pack(">I", value)
