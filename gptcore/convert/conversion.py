"""Conversion between formats, tensor by tensor, with a comparison of every value."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.checkpoint.containers.reading import resolve_inside
from gptcore.checkpoint.dtypes import STORAGE, check_dtype, convert
from gptcore.checkpoint.folder import check_writable, read_tensors
from gptcore.checkpoint.matching import match
from gptcore.checkpoint.opening import Checkpoint, other_files, source_folder
from gptcore.checkpoint.pretrained import write_checkpoint
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.convert.card import card_of
from gptcore.errors import CheckpointError, ConfigError
from gptcore.spec.parameters import parameters
from gptcore.storage.atomic import atomic_write
from gptcore.storage.cards import CARD_NAME, SOURCE_CARD_NAME, is_own
from gptcore.storage.transaction import Transaction

Progress = Callable[[int, int], None]
"""A function that is called with the number of bytes done and the total."""


@dataclass(frozen=True)
class Rounding:
    """The effect of a narrower dtype on the values of a checkpoint."""

    largest: float  # the largest difference of a value, without those that became infinite
    changed: int  # the number of values that changed
    infinite: int  # the number of finite values that became infinite

    def summary(self, dtype: str) -> str:
        """The effect of a conversion to ``dtype``, in words.

        >>> Rounding(0.0, 0, 0).summary("float32"), Rounding(2e-4, 12345, 0).summary("float16")
        ('all values are unchanged', '12,345 values were rounded, by at most 2.00e-04')
        """
        if not self.changed:
            return "all values are unchanged"
        text = f"{self.changed:,} values were rounded, by at most {self.largest:.2e}"
        beyond = f"; {self.infinite:,} are beyond the range of {dtype} and became infinite"
        return text + (beyond if self.infinite else "")


def convert_checkpoint(
    source: Checkpoint,
    folder: str | Path,
    form: str,
    *,
    dtype: str | None = None,
    max_shard_size: int | str | None = None,
    progress: Progress | None = None,
) -> Rounding:
    """Write a checkpoint in another format, with ``config.json`` and the tokenizer's files, and compare it afterwards.

    Tensors are read, converted and written one at a time. The result is read back, and every value is compared with
    that of the source. A model card is generated, unless ``folder`` has a hand-written ``README.md``. A hand-written
    card of the source describes other files, so it is copied as ``README.source.md``.

    Args:
        source: The result of ``open_checkpoint``.
        folder: The folder to write; created if missing.
        form: The format: ``safetensors``, ``pytorch``, ``tf``, ``keras``, ``flax``, ``orbax`` or ``openai``.
        dtype: The dtype to write. Default: the widest dtype of the source.
        max_shard_size: Maximum size of a file in bytes, or a string such as ``"2GB"``; a larger tensor gets a file of
            its own. Only for formats with shards. Default: one file.
        progress: Function that is called with the bytes done and the total. Default: none.

    Returns:
        The effect of a narrower ``dtype`` on the values; all zero if nothing was rounded.

    Raises:
        ConfigError, StorageError: The checkpoint cannot be written.
        CheckpointError: The source cannot be converted, or the result differs from it.
    """
    folder, source_dir = Path(folder), source_folder(source)
    target = check_dtype(dtype or source.dtype)
    check_writable(form, {target}, max_shard_size)
    if source.matching.missing:
        names = ", ".join(parameter.name for parameter in source.matching.missing)
        raise CheckpointError(
            f"cannot convert {source.path}: it lacks {names}. gptcore inspect lists the models that can load it."
        )
    if folder.exists() and folder.resolve() == source_dir.resolve():
        raise ConfigError(f"cannot convert {folder} into itself. Choose another folder.")
    table = parameters(source.config, source.head)
    total, done = 2 * sum(p.size * STORAGE[target].itemsize for p in table.values()), 0

    def counted(array: NDArray[Any]) -> NDArray[Any]:
        """Report progress by the size of an array."""
        nonlocal done
        done += array.size * STORAGE[target].itemsize
        if progress:
            progress(done, total)
        return array

    def reading(tensor: StoredTensor) -> Callable[[], NDArray[Any]]:
        return lambda: counted(tensor.read(target))

    outgoing = [
        (parameter, OutgoingTensor(name, target, parameter.shape, reading(source.matching.sources[name])))
        for name, parameter in table.items()
    ]
    with Transaction(folder) as changes:
        write_checkpoint(
            changes,
            source.config,
            source.head,
            target,
            outgoing,
            form,
            max_shard_size,
            {"converted_from": source.origin},
        )
        source_names = {name: name for name in other_files(source_dir) if name != CARD_NAME}
        if is_own(source_dir / CARD_NAME):
            source_names[SOURCE_CARD_NAME] = CARD_NAME
        changes.remove(SOURCE_CARD_NAME)  # of an earlier conversion
        for name, source_name in source_names.items():
            with resolve_inside(source_dir, source_name).open("rb") as old, changes.file(name) as new:
                shutil.copyfileobj(old, new)
    tensors = read_back(folder, form)
    matching = match(tensors, source.config, source.head)
    written = Checkpoint(folder, tensors, source.config, source.head, matching)
    rounding = _check_same(source, written, target, counted)
    if not is_own(folder / CARD_NAME):
        with atomic_write(folder / CARD_NAME) as file:
            file.write(card_of(written, f"Converted from {source.origin}: {rounding.summary(target)}.").encode())
    return rounding


def read_back(folder: Path, form: str) -> list[StoredTensor]:
    """The tensors of a folder in one format, even if it has weights in several."""
    return read_tensors(folder, allow_pickle=True, form=form)


def differences(a: Checkpoint, b: Checkpoint) -> Iterator[tuple[str, float]]:
    """Yield each parameter whose values differ between two checkpoints of the same model, and the largest difference.

    Raises:
        CheckpointError: The checkpoints are not of the same model.
    """
    table, other_table = parameters(a.config, a.head), parameters(b.config, b.head)
    if table != other_table:
        names = sorted(name for name in {*table, *other_table} if table.get(name) != other_table.get(name))
        raise CheckpointError(
            f"cannot compare {a.path} ({a.head.architecture}) with {b.path} ({b.head.architecture}): their parameters "
            f"differ in {', '.join(names[:5])}."
        )
    for name in table:
        left = _wide(a.matching.sources[name])
        right = _wide(b.matching.sources[name])
        if not np.array_equal(left, right, equal_nan=True):
            yield name, float(np.nanmax(np.abs(left - right)))


def _check_same(
    source: Checkpoint, written: Checkpoint, dtype: str, counted: Callable[[NDArray[Any]], NDArray[Any]]
) -> Rounding:
    largest, changed, infinite = 0.0, 0, 0
    for name, tensor in source.matching.sources.items():
        result = counted(written.matching.sources[name].read())
        if not _same_bytes(result, tensor.read(dtype)):
            raise CheckpointError(f"{written.path}: {name} differs from what was written. The disk may be failing.")
        if tensor.dtype != dtype:
            for old, new in _pieces(tensor.read(), tensor.dtype, result, dtype):
                differ = (old != new) & ~np.isnan(old)
                overflows = np.isinf(new) & np.isfinite(old)
                changed, infinite = changed + int(differ.sum()), infinite + int(overflows.sum())
                if (rounded := differ & ~overflows).any():
                    largest = max(largest, float(np.abs(old - new)[rounded].max()))
    return Rounding(largest, changed, infinite)


def _same_bytes(a: NDArray[Any], b: NDArray[Any]) -> bool:
    a, b = (array.reshape(-1).view(np.uint8) for array in (a, b))
    return len(a) == len(b) and all(np.array_equal(a[part], b[part]) for part in _parts(len(a)))


def _pieces(
    old: NDArray[Any], old_dtype: str, new: NDArray[Any], new_dtype: str
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Two arrays in float64, a part at a time."""
    old, new = old.reshape(-1), new.reshape(-1)
    for part in _parts(old.size):
        yield convert(old[part], old_dtype, "float64"), convert(new[part], new_dtype, "float64")


def _parts(size: int, length: int = 1 << 20) -> Iterator[slice]:
    """Slices of a long array, so that intermediate results need little memory."""
    return (slice(begin, begin + length) for begin in range(0, size, length))


def _wide(tensor: StoredTensor) -> NDArray[Any]:
    return tensor.read("float64" if tensor.dtype == "float64" else "float32")
