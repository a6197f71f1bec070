"""The base classes of the checkpoint formats: their files, and how these are recognised, read, named and written."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from gptcore.checkpoint.containers.reading import resolve_inside
from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.shards import read_shards, split_into_shards, write_index
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.spec.parameters import Head, Parameter
from gptcore.storage.transaction import Transaction

ReadFile = Callable[[Path], list[StoredTensor]]


class Format(ABC):
    """A checkpoint format."""

    name: ClassVar[str]
    """The name that users pass, such as ``form="tf"``."""
    container: ClassVar[str]
    """Human-readable name of the kind of its files, which several formats may share."""
    file_name: ClassVar[str]
    """The file or directory that marks a folder with weights in this format, unless they are in shards."""
    index_name: ClassVar[str | None] = None
    """The file that lists the shards; ``None`` if the format does not support shards."""
    is_directory: ClassVar[bool] = False
    """Whether ``file_name`` is a directory."""
    is_pickle: ClassVar[bool] = False
    """Whether its files are read only if the user allows pickles."""
    dtypes: ClassVar[tuple[str, ...]] = tuple(STORAGE)
    """The dtypes that it supports."""
    dropped: ClassVar[tuple[str, ...]] = ()
    """Patterns for the names of tensors that are not parameters, such as buffers or the state of an optimizer."""
    head_size: ClassVar[int | None] = None
    """The size of an attention head in checkpoints without a config, if the format determines it."""

    def is_in(self, folder: Path) -> bool:
        """Whether a folder has weights in this format."""
        names = (self.file_name, self.index_name)
        return any((folder / name).exists() for name in names if name)

    @abstractmethod
    def files(self, names: Iterable[str]) -> list[str]:
        """Select all weights files in this format from the names in a folder."""

    def files_of_one_save(self, names: Sequence[str]) -> list[str]:
        """Select the weights files to load, without files of earlier saves; empty if there are no weights."""
        return self.files(names)

    @abstractmethod
    def read_folder(self, folder: Path, read_file: ReadFile) -> list[StoredTensor]:
        """Describe the tensors of a folder, with their canonical names.

        ``read_file`` does the same for one file or directory by its content, whatever its name.
        """

    @abstractmethod
    def write_folder(
        self,
        changes: Transaction,
        tensors: Sequence[tuple[Parameter, OutgoingTensor]],
        head: Head,
        max_shard_size: int | str | None,
        provenance: Mapping[str, str],
    ) -> None:
        """Write tensors, and remove the files of an earlier save in this format."""


class FileFormat(Format):
    """A format of one file, one directory or, if it has an index, several files with named tensors."""

    @abstractmethod
    def recognises(self, path: Path, start: bytes) -> bool:
        """Whether a file or directory may be in this format, by its content; ``start`` holds the first bytes of a file.

        Several formats may recognise a file. Then the first format that knows the name of a tensor describes it.
        """

    def check_allowed(self, path: Path, *, allow_pickle: bool) -> None:
        """Raise a ``CheckpointError`` if a recognised file may not be read."""

    @abstractmethod
    def read(self, path: Path) -> list[StoredTensor]:
        """Describe the tensors of a file or directory, with their names there."""

    @abstractmethod
    def to_canonical(self, name: str) -> tuple[str, str] | None:
        """The canonical name of a tensor and the transform of its values; ``None`` if this format has no such name."""

    @abstractmethod
    def from_canonical(self, parameter: Parameter, head: Head) -> tuple[str, str]:
        """The name of a parameter in this format and the transform that its values take."""

    @abstractmethod
    def write(self, target: Any, tensors: Iterable[OutgoingTensor], provenance: Mapping[str, str]) -> None:
        """Write tensors to an open file or an empty directory, and ``provenance`` if the format supports metadata."""

    def shard_name(self, number: int, count: int) -> str:
        """The name of a shard, from 1."""
        stem, dot, suffix = self.file_name.partition(".")
        return f"{stem}-{number:05d}-of-{count:05d}{dot}{suffix}"

    def files(self, names: Iterable[str]) -> list[str]:
        shard = re.compile(re.escape(self.shard_name(1, 1)).replace("00001", r"\d{5}"))
        return [name for name in names if name in (self.file_name, self.index_name) or shard.fullmatch(name)]

    def files_of_one_save(self, names: Sequence[str]) -> list[str]:
        if self.file_name in names:
            return [self.file_name]
        return self.files(names) if self.index_name in names else []

    def read_folder(self, folder: Path, read_file: ReadFile) -> list[StoredTensor]:
        if self.index_name and not (folder / self.file_name).exists():
            return read_shards(folder, self.index_name, read_file)
        return read_file(resolve_inside(folder, self.file_name))

    def write_folder(
        self,
        changes: Transaction,
        tensors: Sequence[tuple[Parameter, OutgoingTensor]],
        head: Head,
        max_shard_size: int | str | None,
        provenance: Mapping[str, str],
    ) -> None:
        renamed = [tensor.done(*self.from_canonical(parameter, head)) for parameter, tensor in tensors]
        shards = split_into_shards(renamed, max_shard_size)
        names = [self.file_name]
        if len(shards) > 1:
            names = [self.shard_name(number, len(shards)) for number in range(1, len(shards) + 1)]
        for name, shard in zip(names, shards, strict=True):
            with changes.directory(name) if self.is_directory else changes.file(name) as target:
                self.write(target, shard, provenance)
        if len(shards) > 1 and self.index_name:
            with changes.file(self.index_name) as file:
                write_index(file, dict(zip(names, shards, strict=True)))
        for name in self.files(path.name for path in changes.folder.iterdir()):
            changes.remove(name)
