"""Helpers of all readers: checks of names, sizes and offsets, and one error for all kinds of damage."""

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
"""The exceptions that parsers raise for damaged files."""


@contextmanager
def damage_reported(path: Path, kind: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn the exceptions that a damaged file causes in a parser into a ``CheckpointError`` that names the file."""
    try:
        yield
    except CheckpointError as error:
        raise error if str(path) in str(error) else CheckpointError(f"{path}: {error}") from None
    except OSError as cause:
        raise CheckpointError(f"cannot read {path}: {cause.strerror or cause}") from cause
    except (*DAMAGE, *errors) as cause:
        raise CheckpointError(f"{path}: damaged {kind} file: {cause}. Download it again.") from cause


def check_inside(name: str, offset: int, size: int, file_size: int) -> None:
    """Raise a ``CheckpointError`` unless the bytes of a tensor are within its file."""
    if offset < 0 or size < 0 or offset + size > file_size:
        raise CheckpointError(
            f"tensor {name!r} claims bytes {offset} to {offset + size}, but the file has {file_size} bytes"
        )


def check_size(name: str, dtype: str, shape: tuple[int, ...], size: int) -> None:
    """Raise a ``CheckpointError`` unless a tensor of this shape and dtype has ``size`` bytes."""
    if dtype in STORAGE and size != math.prod(shape) * STORAGE[dtype].itemsize:
        raise CheckpointError(f"tensor {name!r} of shape {shape} {dtype} cannot have {size} bytes")


def occurrences(file: BinaryIO, pattern: re.Pattern[bytes], length: int) -> Iterator[int]:
    """Yield the positions of a pattern of ``length`` bytes in a file, which is read in parts to save memory.

    Raises:
        CheckpointError: There are more than ``MAX_OCCURRENCES``. No weights file has that many, and each takes time.
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
    """Read ``length`` bytes of a file at an offset, or fewer at its end."""
    file.seek(offset)
    return file.read(length)


def resolve_inside(folder: Path, name: Any) -> Path:
    """Return the path of the file or directory ``name`` in ``folder``.

    The only links allowed are those of the hub's cache, from ``snapshots/REVISION/NAME`` into its folder ``blobs``.

    Raises:
        CheckpointError: The file is missing, or its name or its links point outside the folder.
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
    """Raise a ``CheckpointError`` unless ``path`` is a file or a directory; the error shows ``name`` if given."""
    if not path.is_file() and not path.is_dir():
        raise CheckpointError(f"{name or path} is missing or not a regular file.")
