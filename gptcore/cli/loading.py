"""Import backends for a command, without the start-up lines that their libraries write."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence

from gptcore.backends import Backend, installed, load_backend


def load_backends(names: Sequence[str] | None = None) -> list[Backend]:
    """Import backends by name.

    Args:
        names: The backends to import. Default: every backend whose framework is installed.

    Raises:
        GPTError: a backend is unknown or cannot be imported, or none is installed.
    """
    with quiet():
        return [load_backend(name) for name in names or installed()]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Capture standard error, including output of C++ code, and show it only if an exception is raised.

    TensorFlow prints some lines before it reads its log settings.
    """
    sys.stderr.flush()
    try:
        real = os.dup(2)
    except OSError:  # closed: nobody reads it
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            if failed:
                held.seek(0)
                sys.stderr.write(held.read().decode(errors="replace"))
