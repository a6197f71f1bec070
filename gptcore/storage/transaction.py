"""Atomic changes to several files of a folder: a reader sees all of the old files or all of the new ones.

New files and directories are written under temporary names. A journal then lists their final names and the files to
remove. Once the journal exists, the save is decided: if the writer is killed, the next program that opens the folder
completes it.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Self

from gptcore.errors import StorageError
from gptcore.storage.atomic import atomic_write, open_to_others, sync, sync_folder

PREFIX = ".gptcore-save-"
JOURNAL_NAME = ".gptcore-save.json"
MAX_JOURNAL_BYTES = 1 << 20


class Transaction:
    """Changes to a folder that are all applied on leaving ``with``, or none of them after an error.

    Args:
        folder: The folder; created if missing.

    Raises:
        StorageError: The folder cannot be written or the disk is full; its files are unchanged.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with Transaction(folder) as changes:
    ...         with changes.file("a.txt") as file:
    ...             _ = file.write(b"new")
    ...     (Path(folder) / "a.txt").read_text()
    'new'
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._written: dict[str, str] = {}
        self._removed: set[str] = set()
        self._made = False

    def __enter__(self) -> Self:
        if self.folder.exists() and not self.folder.is_dir():
            raise StorageError(f"cannot write a checkpoint to {self.folder}: it is a file, not a folder.")
        with self._reported():
            self._made = not self.folder.exists()
            self.folder.mkdir(parents=True, exist_ok=True)
            recover(self.folder)
            for stale in self.folder.glob(f"{PREFIX}*"):
                _delete(stale)
        return self

    @contextmanager
    def file(self, name: str) -> Iterator[BinaryIO]:
        """Open a new file that gets the name ``name``."""
        temporary = self._temporary(name)
        with self._reported():
            with temporary.open("xb") as file:
                yield file
                file.flush()
                sync(file.fileno())
            open_to_others(temporary)

    @contextmanager
    def directory(self, name: str) -> Iterator[Path]:
        """Create a directory that gets the name ``name`` and replaces an old one with its contents."""
        temporary = self._temporary(name)
        with self._reported():
            temporary.mkdir()
            yield temporary
            _sync_tree(temporary)

    def remove(self, name: str) -> None:
        """Remove the file or directory ``name``, if it exists."""
        if name not in self._written.values() and (self.folder / name).exists():
            self._removed.add(name)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            with self._reported():
                journal = {"rename": self._written, "remove": sorted(self._removed)}
                with atomic_write(self.folder / JOURNAL_NAME) as file:
                    file.write(json.dumps(journal).encode())
        except BaseException:
            self._discard()
            raise
        recover(self.folder)

    def _temporary(self, name: str) -> Path:
        """The temporary path of a file or directory that gets the name ``name``."""
        temporary = f"{PREFIX}{uuid.uuid4().hex}"
        self._written[temporary] = name
        self._removed.discard(name)
        return self.folder / temporary

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except OSError as cause:
            raise StorageError(
                f"cannot write in {self.folder}: {cause.strerror}. Its previous content is unchanged."
            ) from cause

    def _discard(self) -> None:
        for temporary in self._written:
            _delete(self.folder / temporary)
        if self._made:
            with suppress(OSError):  # somebody else has put something there
                self.folder.rmdir()


def recover(folder: Path) -> None:
    """Complete a save that was decided and then interrupted, if there is one.

    Raises:
        StorageError: The journal is damaged, or the folder cannot be written.
    """
    path = folder / JOURNAL_NAME
    if not path.is_file():
        return
    try:
        with _alone(folder):
            if path.is_file():  # still: another process may have carried it out meanwhile
                _carry_out(folder, path)
    except OSError as cause:
        raise StorageError(
            f"cannot finish an interrupted save in {folder}: {cause.strerror}. Make the folder writable."
        ) from cause


def _carry_out(folder: Path, journal: Path) -> None:
    renamed, removed = _read_journal(journal)
    for temporary, name in renamed.items():
        with suppress(FileNotFoundError):  # an earlier attempt came this far
            _replace(folder / temporary, folder / name)
    for name in removed:
        _delete(folder / name)
    sync_folder(folder)
    journal.unlink(missing_ok=True)
    sync_folder(folder)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lock the folder, if the system supports it, so that no other process completes the same save.

    Replacing a directory takes two steps; a second process between them would mistake the new one for the old.
    """
    if os.name != "posix":
        yield
        return
    import fcntl

    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(new: Path, old: Path) -> None:
    """Rename a file or directory over another. If the process is killed in between, the new one is kept."""
    if new.is_dir() or (new.exists() and old.is_dir()):  # which the system does not rename over each other
        _delete(old)
    os.replace(new, old)


def _delete(path: Path) -> None:
    """Delete a file, a link, or a directory with its contents; links are not followed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_tree(folder: Path) -> None:
    """Sync the contents of a directory to disk."""
    for root, _, names in os.walk(folder):
        for name in names:
            with Path(root, name).open("r+b") as file:
                sync(file.fileno())
        sync_folder(Path(root))


def _read_journal(path: Path) -> tuple[dict[str, str], list[str]]:
    """Load a journal; it may contain only plain names in its own folder."""
    try:
        if path.stat().st_size > MAX_JOURNAL_BYTES:
            raise ValueError(f"more than {MAX_JOURNAL_BYTES} bytes")
        journal = json.loads(path.read_text(encoding="utf-8"))
        renamed, removed = dict(journal["rename"]), list(journal["remove"])
        names = [*renamed, *renamed.values(), *removed]
        if not all(is_plain_name(name) for name in names):
            raise ValueError("a name points outside the folder")
        if not all(name.startswith(PREFIX) for name in renamed):
            raise ValueError(f"only files that begin with {PREFIX} are renamed")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as cause:
        raise StorageError(f"{path} is damaged: {cause}. Delete it to keep the folder as it is.") from cause
    return renamed, removed


def is_plain_name(name: object) -> bool:
    """Whether this is the name of a file in a folder, and not a path to another place.

    >>> [is_plain_name(name) for name in ("model.safetensors", "../model.safetensors", "C:x", "")]
    [True, False, False, False]
    """
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\:\0")
