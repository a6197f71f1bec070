"""Which format a file has, by its first bytes, and which reader it needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from gptcore.checkpoint.formats import hdf5, msgpack, orbax, pytorch, safetensors
from gptcore.checkpoint.tensors import StoredTensor
from gptcore.errors import CheckpointError

READERS: Mapping[str, Callable[[Path], list[StoredTensor]]] = {
    "safetensors": safetensors.read,
    "pytorch": pytorch.read,
    "hdf5": hdf5.read,
    "msgpack": msgpack.read,
    "orbax": orbax.read,
}
"""Format of a file (by its first bytes) or of a directory (by its files) -> its reader."""


def sniff(path: Path) -> str | None:
    """Recognise the format of a file or directory by its content: a key of ``READERS``, or ``None``."""
    if path.is_dir():
        return "orbax" if orbax.is_item(path) else None
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as cause:
        raise CheckpointError(f"cannot read {path}: {cause.strerror}") from cause
    if head[8:] == b"{":
        return "safetensors"
    if head.startswith((b"PK\x03\x04", b"\x80\x02\x8a\x0a\x6c\xfc")):  # a zip archive; the magic number as a pickle
        return "pytorch"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if head and (head[0] >> 4 == 0x8 or head[0] in (0xDE, 0xDF)):
        return "msgpack"
    return None
