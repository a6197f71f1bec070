"""Helpers for all readers: files are mapped, not copied, and every damage is a ``CheckpointError``."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from gptcore.checkpoint.dtypes import STORAGE
from gptcore.errors import CheckpointError
from gptcore.storage.transaction import is_plain_name

MAX_OCCURRENCES = 100_000
DAMAGE: tuple[type[Exception], ...] = (
    ValueError,
    LookupError,
    TypeError,
    OverflowError,
    RecursionError,
    struct.error,
)
"""What parsers raise when a file is not what they expect."""


@contextmanager
def damage_reported(path: Path, kind: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn what a damaged file makes a parser raise into a ``CheckpointError`` that names the file."""
    try:
        yield
    except CheckpointError as error:
        raise error if str(path) in str(error) else CheckpointError(f"{path}: {error}") from None
    except OSError as cause:
        raise CheckpointError(f"cannot read {path}: {cause.strerror or cause}") from cause
    except (*DAMAGE, *errors) as cause:
        raise CheckpointError(f"{path}: damaged {kind} file: {cause}. Download it again.") from cause


def check_inside(name: str, offset: int, size: int, file_size: int) -> None:
    """Raise a ``CheckpointError`` unless the bytes of a tensor are bytes of its file."""
    if offset < 0 or size < 0 or offset + size > file_size:
        raise CheckpointError(f"tensor {name!r} claims bytes {offset} to {offset + size} of a file of {file_size}")


def check_size(name: str, dtype: str, shape: tuple[int, ...], size: int) -> None:
    """Raise a ``CheckpointError`` unless a tensor of this shape and dtype has ``size`` bytes."""
    if dtype in STORAGE and size != math.prod(shape) * STORAGE[dtype].itemsize:
        raise CheckpointError(f"tensor {name!r} of shape {shape} {dtype} cannot have {size} bytes")


def occurrences(file: BinaryIO, pattern: re.Pattern[bytes], length: int) -> Iterator[int]:
    """Yield the positions of a pattern of ``length`` bytes in a file, which is read in parts to save memory.

    More than ``MAX_OCCURRENCES`` raise a ``CheckpointError``: no weights file has that many, and each costs time.
    """
    begin, tail, count = 0, b"", 0
    while True:
        file.seek(begin + len(tail))
        part = file.read(1 << 20)
        if not part:
            return
        data = tail + part
        for match in pattern.finditer(data):
            count += 1
            if count > MAX_OCCURRENCES:
                raise CheckpointError(f"the bytes {match[0]!r} occur more than {MAX_OCCURRENCES:,} times")
            yield begin + match.start()
        tail = data[-(length - 1) :]
        begin += len(data) - len(tail)


def bytes_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Bytes of a file; fewer where it ends."""
    file.seek(offset)
    return file.read(length)


def resolve_inside(folder: Path, name: Any) -> Path:
    """Return the file or directory ``name`` of ``folder``; raises if its name or its links point elsewhere.

    Only links of the hub's cache, from ``snapshots/REVISION/NAME`` into its folder ``blobs``, are allowed.
    """
    if not is_plain_name(name):
        raise CheckpointError(f"{folder}: {name!r} is not a plain file name.")
    root = folder.resolve()
    path: Path = (root / name).resolve()
    allowed = {root}
    if root.parent.name == "snapshots":
        allowed.add(root.parent.parent / "blobs")
    if path.parent not in allowed:
        raise CheckpointError(f"cannot read {folder / name}: it points outside the folder, to {path}.")
    check_exists(path, folder / name)
    return path


def check_exists(path: Path, name: Path | None = None) -> None:
    """Raise a ``CheckpointError`` unless ``path``, which users know as ``name``, is a file or a directory."""
    if not path.is_file() and not path.is_dir():
        raise CheckpointError(f"{name or path} is missing or not a regular file.")
