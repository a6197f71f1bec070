"""A checkpoint on disk: a folder in one of the formats, or one file of weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from gptcore.checkpoint.containers.reading import check_exists
from gptcore.checkpoint.formats import FORMATS
from gptcore.checkpoint.formats.base import FileFormat
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.errors import CheckpointError, ConfigError
from gptcore.spec.config import CONFIG_NAME
from gptcore.spec.parameters import Head, Parameter
from gptcore.storage.transaction import Transaction, recover

WRITABLE = tuple(FORMATS)
"""The names of the formats that ``save_pretrained`` and ``gptcore convert`` write."""
START_BYTES = 9  # of a file, by which its format is recognised


def weights_files(names: Sequence[str], allow_pickle: bool) -> list[str]:
    """Select the weights files of a folder in the first format that may be loaded.

    >>> weights_files(["config.json", "pytorch_model.bin", "model.safetensors"], allow_pickle=False)
    ['model.safetensors']

    Raises:
        CheckpointError: The only format is a pickle, which is not allowed.
    """
    pickles = []
    for form in FORMATS.values():
        if files := form.files_of_one_save(names):
            if allow_pickle or not form.is_pickle:
                return files
            pickles.append(form.file_name)
    if pickles:
        raise CheckpointError(f"the only weights are {pickles[0]}, a pickle. Pass allow_pickle=True to read it.")
    return []


def read_tensors(path: Path, *, allow_pickle: bool = False, form: str | None = None) -> list[StoredTensor]:
    """Describe all tensors of a checkpoint, with their canonical names, without reading their values.

    Args:
        path: A folder, a weights file, or a directory that Orbax saved; recognised by its content, not by its name.
        allow_pickle: Whether to read files of ``torch.save``. Their code is never executed. Default: false.
        form: The format to load if a folder has several. Default: the first format in ``FORMATS``
            that the folder has.

    Raises:
        CheckpointError: Weights are missing or damaged, an index does not match its shards, or a file is outside the
            folder.
    """
    read_file = partial(_read_file, allow_pickle=allow_pickle)
    if not path.is_dir() or recognised_formats(path):
        return read_file(path)
    recover(path)
    for candidate in FORMATS.values():
        if form in (None, candidate.name) and candidate.is_in(path):
            return candidate.read_folder(path, read_file)
    names = ", ".join(candidate.file_name for candidate in FORMATS.values())
    raise CheckpointError(f"{path} has no weights: expected one of {names}, or a shard index.")


def write_tensors(
    changes: Transaction,
    tensors: Sequence[tuple[Parameter, OutgoingTensor]],
    head: Head,
    form: str = "safetensors",
    max_shard_size: int | str | None = None,
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write the weights of a model, in one file or in shards of at most ``max_shard_size`` bytes (``"2GB"``).

    Older files of the same format are removed in the same transaction; other formats are unchanged. ``provenance`` is
    stored in formats that support metadata.

    Raises:
        ConfigError: The format cannot hold such tensors or shards.
        StorageError: The folder cannot be written.
    """
    check_writable(form, {tensor.dtype for _, tensor in tensors}, max_shard_size)
    FORMATS[form].write_folder(changes, tensors, head, max_shard_size, provenance or {})


def check_writable(form: str, dtypes: set[str], max_shard_size: int | str | None) -> None:
    """Raise a ``ConfigError`` if a format does not support the dtypes or shards."""
    if form not in FORMATS:
        raise ConfigError(f"the format must be one of {', '.join(FORMATS)}; got {form!r}.")
    allowed = FORMATS[form].dtypes
    for dtype in sorted(dtypes - set(allowed)):
        raise ConfigError(f"the dtype of format {form!r} must be one of {', '.join(allowed)}; got {dtype}.")
    if max_shard_size is not None and FORMATS[form].index_name is None:
        raise ConfigError(f"format {form!r} does not support shards. Omit max_shard_size.")


def folder_of(path: Path) -> Path:
    """The folder of the config and the tokenizer: the path itself, or the folder of a weights file.

    The config of an Orbax directory may be in it or next to it.
    """
    if path.is_dir() and (not recognised_formats(path) or (path / CONFIG_NAME).is_file()):
        return path
    return path.parent


def recognised_formats(path: Path) -> list[FileFormat]:
    """The formats that a file or directory may be in, by its content."""
    start = b""
    if not path.is_dir():
        try:
            with path.open("rb") as file:
                start = file.read(START_BYTES)
        except OSError as cause:
            raise CheckpointError(f"cannot read {path}: {cause.strerror}") from cause
    return [form for form in _file_formats() if form.recognises(path, start)]


def _file_formats() -> list[FileFormat]:
    return [form for form in FORMATS.values() if isinstance(form, FileFormat)]


def _read_file(path: Path, *, allow_pickle: bool) -> list[StoredTensor]:
    check_exists(path)
    forms = recognised_formats(path)
    if not forms:
        containers = ", ".join(dict.fromkeys(form.container for form in _file_formats()))
        raise CheckpointError(
            f"{path} is not a recognised weights file ({containers}); it may be damaged. Download it again."
        )
    for form in forms:
        form.check_allowed(path, allow_pickle=allow_pickle)
    return [_named(tensor, forms) for tensor in forms[0].read(path)]


def _named(tensor: StoredTensor, forms: Sequence[FileFormat]) -> StoredTensor:
    """The tensor with its canonical name in the first format that has its name; matching reports unknown names."""
    for form in forms:
        if canonical := form.to_canonical(tensor.parameter):
            parameter, transform = canonical
            return replace(tensor.undone(transform), parameter=parameter, form=form.name)
    return replace(tensor, form=forms[0].name)
