"""Size limits for OCDBT, the store of Orbax, which are checked before tensorstore opens it.

tensorstore unpacks each node of a store's tree at once, and a few bytes of zstd can unpack to gigabytes. Every node
begins with one of three magic numbers and its length, so all nodes can be found and measured.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gptcore.checkpoint.containers.reading import bytes_at, damage_reported, occurrences
from gptcore.errors import CheckpointError

MAGIC = re.compile(rb"\x0c\xdb(?:\x3a\x2a|\x12\x34|\x20\xde)")  # of a manifest, a node of versions, a node of keys
VERSION, PLAIN, ZSTD = b"\0", b"\0", b"\1"
HEADER_BYTES = 14  # magic, length, version, compression
CHECKSUM_BYTES = 4
MAX_NODE_BYTES = 1 << 22  # unpacked; enough for 12,000 arrays
MAX_TREE_BYTES = 1 << 26  # of all nodes, including those that later writes replaced


def check_nodes(paths: Iterable[Path], zstandard: Any) -> None:
    """Raise a ``CheckpointError`` if the nodes in the files of a store are damaged or too large for a model.

    ``zstandard`` is the module of that name.
    """
    total = 0
    for path in paths:
        with damage_reported(path, "OCDBT", zstandard.ZstdError):
            for node in _nodes(path):
                total += _unpacked_size(node, zstandard)
                if total > MAX_TREE_BYTES:
                    raise CheckpointError(f"the nodes of the store must have at most {MAX_TREE_BYTES:,} bytes in all")


def _nodes(path: Path) -> Iterator[bytes]:
    """All bytes that tensorstore could read as a node; a node must end within the file."""
    with path.open("rb") as file:
        file_size = path.stat().st_size
        for begin in occurrences(file, MAGIC, 4):
            length = int.from_bytes(bytes_at(file, begin + 4, 8), "little")
            if HEADER_BYTES + CHECKSUM_BYTES <= length <= file_size - begin:
                if length > MAX_NODE_BYTES:
                    raise CheckpointError(f"a node must have at most {MAX_NODE_BYTES:,} bytes; got {length:,}")
                yield bytes_at(file, begin, length)


def _unpacked_size(node: bytes, zstandard: Any) -> int:
    version, compression = node[12:13], node[13:14]
    if version != VERSION or compression not in (PLAIN, ZSTD):
        raise CheckpointError(
            f"the store has an unsupported node: version {version.hex()}, compression {compression.hex()}"
        )
    if compression == PLAIN:
        return len(node)
    packed = node[HEADER_BYTES:-CHECKSUM_BYTES]
    size, unpacker = 0, zstandard.ZstdDecompressor(max_window_size=2 * MAX_NODE_BYTES)
    with unpacker.stream_reader(packed, read_across_frames=True) as reader:
        while part := reader.read(1 << 16):
            size += len(part)
            if size > MAX_NODE_BYTES:
                raise CheckpointError(
                    f"a node must have at most {MAX_NODE_BYTES:,} bytes; {len(packed):,} packed bytes hold more"
                )
    return max(size, len(node))
