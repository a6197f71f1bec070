"""Settings of the C library for memory that training frees."""

from __future__ import annotations

import ctypes
import sys

# The names are those of malloc.h of the GNU C library.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keep freed memory in the process, so that the next training step can reuse it without clearing it again.

    From this call on, the whole process no longer returns freed blocks below 2 GiB to the system, as with large values
    of the environment variables ``MALLOC_TRIM_THRESHOLD_`` and ``MALLOC_MMAP_THRESHOLD_``. PyTorch profits most:
    TensorFlow keeps its memory itself, and JAX computes in its own threads, whose blocks over 64 MiB are still
    allocated from the system each time.

    Returns:
        Whether the setting was applied. Only the GNU C library supports it.

    >>> keep_freed_memory() in (True, False)
    True
    """
    if sys.platform != "linux":
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return False
    return bool(set_option(M_TRIM_THRESHOLD, LARGEST) and set_option(M_MMAP_THRESHOLD, LARGEST))
