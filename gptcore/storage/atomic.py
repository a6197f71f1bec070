"""Writing files so that a reader sees the old content or the new one, never a part."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gptcore.errors import StorageError

UNSUPPORTED = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EACCES}
"""Errors with which Windows shares, FUSE and Google Drive reject unsupported calls; a failing disk gives others."""


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, unless it exists.

    Raises:
        StorageError: It cannot be created, for example because it is a file.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as cause:
        raise StorageError(f"cannot create the folder {folder}: {cause.strerror}. Choose another folder.") from cause


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file next to ``path``; on success it is synced to disk and renamed to ``path``.

    Raises:
        StorageError: The folder cannot be written or the disk is full; ``path`` is unchanged.
    """
    temporary: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            yield file  # type: ignore[misc]  # the wrapper has the file's methods
            file.flush()
            sync(file.fileno())
        open_to_others(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as cause:
        raise StorageError(f"cannot write {path}: {cause.strerror}. Its previous content is unchanged.") from cause
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def where_supported() -> Iterator[None]:
    """Ignore the error of a call that the file system does not support."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def sync(descriptor: int) -> None:
    """Make the content of an open file or folder durable, where the file system can."""
    with where_supported():
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Make renames inside ``folder`` durable, where the system can."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            sync(descriptor)
        finally:
            os.close(descriptor)


def open_to_others(file: Path) -> None:
    """Give a temporary file the permissions of a new file, where the file system has permissions."""
    current = os.umask(0)
    os.umask(current)
    with where_supported():
        file.chmod(0o666 & ~current)
