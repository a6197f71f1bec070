"""How much a zstd frame can unpack to, without unpacking it (RFC 8878)."""

from __future__ import annotations

MAGIC = b"\x28\xb5\x2f\xfd"
MAX_BLOCK = 1 << 17
RAW, REPEATED, COMPRESSED = 0, 1, 2


def largest_content(frame: bytes) -> int:
    """The number of bytes that a frame cannot exceed, from the headers of its blocks.

    >>> largest_content(MAGIC + bytes([0x20, 3]) + (3 << 3 | 1).to_bytes(3, "little") + b"abc")
    3

    Raises:
        ValueError: this is no single frame.
    """
    if len(frame) < 6 or not frame.startswith(MAGIC):
        raise ValueError("there is no zstd frame where one should be")
    descriptor = frame[4]
    single, has_checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    position = 5 + (1 - single) + (0, 1, 2, 4)[descriptor & 3] + (single, 2, 4, 8)[descriptor >> 6]
    total, is_last = 0, False
    while not is_last:
        if position + 3 > len(frame):
            raise ValueError("a zstd frame has no end")
        header = int.from_bytes(frame[position : position + 3], "little")
        is_last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        position += 3 + (1 if kind == REPEATED else size)
        total += MAX_BLOCK if kind == COMPRESSED else size
    if position + 4 * has_checksum != len(frame):
        raise ValueError("a zstd frame has another length than its blocks")
    return total
