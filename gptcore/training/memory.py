"""What the C library does with memory that a step of training gives back."""

from __future__ import annotations

import ctypes
import sys

# The names are those of malloc.h of the GNU C library.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let the next step have the memory of the last one, which the system would clear page by page each time.

    For the whole process, from now on: blocks below 2 GiB are no longer returned to the system when they are freed, as
    with large ``MALLOC_TRIM_THRESHOLD_`` and ``MALLOC_MMAP_THRESHOLD_`` in the environment. PyTorch gains
    most: TensorFlow keeps its memory by itself, and JAX computes in threads of its own, whose blocks over 64 MiB still
    come from the system each time.

    Returns:
        Whether the C library did so: the one of GNU does, others have no such settings.

    >>> keep_freed_memory() in (True, False)
    True
    """
    if sys.platform != "linux":
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return False
    return bool(set_option(M_TRIM_THRESHOLD, LARGEST) and set_option(M_MMAP_THRESHOLD, LARGEST))
