"""From one format to another, tensor by tensor, and the proof that nothing was lost."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore import hub
from gptcore.card import CARD_NAME, is_own, model_card
from gptcore.checkpoint.atomic import atomic_write
from gptcore.checkpoint.dtypes import STORAGE, check_dtype, convert
from gptcore.checkpoint.folder import check_writable, folder_of, read_tensors, resolve_inside
from gptcore.checkpoint.formats import openai_npy, sniff
from gptcore.checkpoint.inference import config_of
from gptcore.checkpoint.matching import Matching, match
from gptcore.checkpoint.pretrained import wanted_files, write_checkpoint
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.checkpoint.transaction import Transaction
from gptcore.config import OpenAIGPTConfig
from gptcore.errors import CheckpointError, GPTError
from gptcore.layouts.hf_torch import TIED_HEAD
from gptcore.parameters import ARCHITECTURES, SCORE, SUMMARY, Head, parameters

OTHER_FILES = (
    "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "generation_config.json", "encoder_bpe_40000.json", "vocab_40000.bpe", CARD_NAME,
)  # fmt: skip
"""What belongs to a model besides its weights and goes with it."""

TOKENIZER_FILES = {"vocab.json", "tokenizer.json", "encoder_bpe_40000.json"}
"""A folder with one of these has a tokenizer."""

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes there are."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint as it lies on disk: its tensors, its config, and the model that it is of."""

    path: Path
    tensors: Sequence[StoredTensor]
    config: OpenAIGPTConfig
    head: Head
    matching: Matching

    @property
    def dtype(self) -> str:
        """The widest dtype of its parameters."""
        stored = {tensor.dtype for tensor in self.matching.sources.values()}
        return next(name for name in STORAGE if name in stored)

    @property
    def form(self) -> str:
        """What its files are, for people."""
        return ", ".join(sorted({kind_of(tensor.path) for tensor in self.tensors}))

    @property
    def origin(self) -> str:
        """Where it lies, for those who meet a copy: its repository if it has one, its format and its dtype."""
        described = f"{self.form}, {self.dtype}"
        cached = re.search(r"/models--([^/]+)/snapshots/([0-9a-f]{40})$", source_folder(self).as_posix())
        repo_id = cached[1].replace("--", "/", 1) if cached else ""
        return f"{repo_id} at {cached[2]}, {described}" if cached and hub.REPO_ID.fullmatch(repo_id) else described


@dataclass(frozen=True)
class Rounding:
    """What a narrower dtype did to the values of a checkpoint."""

    largest: float  # difference of a value
    changed: int  # values that are another number now
    infinite: int  # values that were finite and are beyond the dtype's range

    def told(self, dtype: str) -> str:
        """What happened on the way to ``dtype``, in words.

        >>> Rounding(0.0, 0, 0).told("float32"), Rounding(2e-4, 12345, 0).told("float16")
        ('every value is as it was', '12,345 values were rounded, by 2.00e-04 at most')
        """
        if not self.changed:
            return "every value is as it was"
        text = f"{self.changed:,} values were rounded, by {self.largest:.2e} at most"
        beyond = f"; {self.infinite:,} are beyond the range of {dtype} and infinite now"
        return text + (beyond if self.infinite else "")


def open_checkpoint(
    path_or_repo_id: str | Path, *, allow_pickle: bool = False, head: Head | None = None, **options: Any
) -> Checkpoint:
    """Find a checkpoint and check it, without reading values.

    Args:
        path_or_repo_id: a folder, a file of weights, or ``owner/name``.
        allow_pickle: whether files of ``torch.save`` may be read. No code in them is ever run.
        head: which model it is of; default: what its tensors or its config say, else the language model.
        options: those of ``gptcore.hub.resolve``; all others override the config.

    Raises:
        CheckpointError, ConfigError: with every problem.
    """
    location, overrides = hub.split_options(options)
    path = Path(path_or_repo_id)
    if not path.is_file():
        path = hub.resolve(path_or_repo_id, wanted_files(allow_pickle, *OTHER_FILES), **location)
    tensors = read_tensors(path, allow_pickle=allow_pickle)
    config = config_of(path, tensors, **overrides)
    head = head or head_of({tensor.parameter for tensor in tensors}, config)
    return Checkpoint(path, tensors, config, head, match(tensors, config, head))


def head_of(names: set[str], config: OpenAIGPTConfig) -> Head:
    """The model that a checkpoint is of: by the weights of its head, else by ``architectures``, else the trunk."""
    if names & {row.name for row in SCORE}:
        return Head.SEQUENCE_CLASSIFICATION
    if names & {row.name for row in SUMMARY}:
        return Head.DOUBLE_HEADS
    named = config.extra.get("architectures")
    if isinstance(named, list) and len(named) == 1 and named[0] in ARCHITECTURES.values():
        return head_named(named[0])
    return Head.LM if TIED_HEAD in names else Head.NONE


def head_named(architecture: str) -> Head:
    """The model of a class name, with or without the prefix of a framework.

    >>> head_named("TFOpenAIGPTLMHeadModel")
    <Head.LM: 'lm'>
    """
    plain = architecture.removeprefix("TF").removeprefix("Flax")
    for head, name in ARCHITECTURES.items():
        if name == plain:
            return head
    raise CheckpointError(f"model {architecture!r} must be one of {', '.join(ARCHITECTURES.values())}")


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

    Tensors are read, converted and written one at a time. The result is read back through its own reader, and every
    value compared with the source's. A ``README.md`` that somebody wrote stays in ``folder``, or comes with the source;
    without one, a card is made.

    Args:
        source: of ``open_checkpoint``.
        folder: to write; made if missing.
        form: ``safetensors``, ``pytorch``, ``tf``, ``keras``, ``flax``, ``orbax`` or ``openai``.
        dtype: of the values written; default: each as it is stored, or the widest where a format has but one.
        max_shard_size: bytes, or like ``"2GB"``, for the formats with shards.
        progress: is told of what has been written and compared.

    Returns:
        What a narrower ``dtype`` did; all zero where none was asked for.

    Raises:
        CheckpointError: nothing has been written; or the result, read back, is not the source.
    """
    folder, beside = Path(folder), source_folder(source)
    target = check_dtype(dtype or source.dtype)
    check_writable(form, {target}, max_shard_size)
    if source.matching.missing:
        names = ", ".join(parameter.name for parameter in source.matching.missing)
        raise CheckpointError(f"{source.path} lacks {names}; a conversion makes nothing up")
    if folder.exists() and folder.resolve() == beside.resolve():
        raise CheckpointError(f"{folder} is the source itself; write to another folder")
    table = parameters(source.config, source.head)
    total, done = 2 * sum(p.size * STORAGE[target].itemsize for p in table.values()), 0

    def told(array: NDArray[Any]) -> NDArray[Any]:
        nonlocal done
        done += array.size * STORAGE[target].itemsize
        if progress:
            progress(done, total)
        return array

    def reading(tensor: StoredTensor) -> Callable[[], NDArray[Any]]:
        return lambda: told(tensor.read(target))

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
        for name in other_files(beside):
            if name != CARD_NAME or (is_own(beside / name) and not is_own(folder / name)):
                with resolve_inside(beside, name).open("rb") as old, changes.file(name) as new:
                    shutil.copyfileobj(old, new)
    written = Checkpoint(
        folder, found := read_back(folder, form), source.config, source.head, match(found, source.config, source.head)
    )
    rounding = _check_same(source, written, target, told)
    if not is_own(folder / CARD_NAME):
        with atomic_write(folder / CARD_NAME) as file:
            file.write(card_of(written, f"Converted from {source.origin}: {rounding.told(target)}.").encode())
    return rounding


def card_of(checkpoint: Checkpoint, history: str = "") -> str:
    """The model card of a checkpoint; ``gptcore.card.model_card`` says what the others are."""
    return model_card(
        checkpoint.config,
        checkpoint.head,
        form=checkpoint.form,
        dtype=checkpoint.dtype,
        has_tokenizer=not TOKENIZER_FILES.isdisjoint(other_files(source_folder(checkpoint))),
        history=history,
    )


def other_files(folder: Path) -> list[str]:
    """The names of those of ``OTHER_FILES`` that a folder has."""
    return [name for name in OTHER_FILES if (folder / name).is_file()]


def source_folder(checkpoint: Checkpoint) -> Path:
    """The folder that a checkpoint lies in."""
    return folder_of(checkpoint.path)


def read_back(folder: Path, form: str) -> list[StoredTensor]:
    """The tensors of one format, where a folder may have several."""
    return read_tensors(folder, allow_pickle=True, form=form)


def differences(a: Checkpoint, b: Checkpoint) -> Iterator[tuple[str, float]]:
    """The parameters whose values differ between two checkpoints of one model, and by how much at most.

    Raises:
        CheckpointError: they are not of one model.
    """
    ours, theirs = parameters(a.config, a.head), parameters(b.config, b.head)
    if ours != theirs:
        names = sorted({n for n in {*ours, *theirs} if ours.get(n) != theirs.get(n)})
        raise CheckpointError(
            f"{a.path} and {b.path} are {a.head.architecture} and {b.head.architecture}; they differ in {names[:5]}"
        )
    for name in ours:
        left = _wide(a.matching.sources[name])
        right = _wide(b.matching.sources[name])
        if not np.array_equal(left, right, equal_nan=True):
            yield name, float(np.nanmax(np.abs(left - right)))


def _check_same(
    source: Checkpoint, written: Checkpoint, dtype: str, told: Callable[[NDArray[Any]], NDArray[Any]]
) -> Rounding:
    largest, changed, infinite = 0.0, 0, 0
    for name, tensor in source.matching.sources.items():
        result = told(written.matching.sources[name].read())
        wanted = tensor.read(dtype)
        if not np.array_equal(result.reshape(-1).view(np.uint8), wanted.reshape(-1).view(np.uint8)):
            raise CheckpointError(
                f"{written.path}: {name}, read back, is not what was written; the disk may be failing"
            )
        if tensor.dtype != dtype:
            for old, new in _pieces(tensor.read(), tensor.dtype, result, dtype):
                differ = (old != new) & ~np.isnan(old)
                gone = np.isinf(new) & np.isfinite(old)
                changed, infinite = changed + int(differ.sum()), infinite + int(gone.sum())
                if (kept := differ & ~gone).any():
                    largest = max(largest, float(np.abs(old - new)[kept].max()))
    return Rounding(largest, changed, infinite)


def _pieces(
    old: NDArray[Any], old_dtype: str, new: NDArray[Any], new_dtype: str, length: int = 1 << 20
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Two arrays in float64, a part at a time: whole, they would be the largest thing in memory."""
    old, new = old.reshape(-1), new.reshape(-1)
    for begin in range(0, old.size, length):
        part = slice(begin, begin + length)
        yield convert(old[part], old_dtype, "float64"), convert(new[part], new_dtype, "float64")


def _wide(tensor: StoredTensor) -> NDArray[Any]:
    return tensor.read("float64" if tensor.dtype == "float64" else "float32")


def describe(path_or_repo_id: str | Path, *, allow_pickle: bool = False, **options: Any) -> Mapping[str, Any]:
    """What a checkpoint is, ready for JSON: model, config, tensors, what each class would load, and problems."""
    location, overrides = hub.split_options(options)
    path = Path(path_or_repo_id)
    if not path.is_file():
        path = hub.resolve(path_or_repo_id, wanted_files(allow_pickle, *OTHER_FILES), **location)
    tensors = read_tensors(path, allow_pickle=allow_pickle)
    problems: list[str] = []
    loads: dict[str, Any] = {}
    config, head = None, None
    try:
        config = config_of(path, tensors, **overrides)
        head = head_of({tensor.parameter for tensor in tensors}, config)
        for one in Head:
            found = match(tensors, config, one)
            loads[one.architecture] = {"fresh": [p.name for p in found.missing], "left_aside": sorted(found.dropped)}
    except GPTError as error:
        problems.append(str(error))
    names = {tensor.parameter for tensor in tensors}
    return {
        "path": str(path),
        "formats": sorted({kind_of(tensor.path) for tensor in tensors}),
        "files": sorted({path.name for tensor in tensors for path in _files(tensor)}),
        "model": head.architecture if head else None,
        "config": config.to_dict() if config else None,
        "parameters": sum(p.size for p in parameters(config, head).values()) if config and head else None,
        "bytes": sum(_size(tensor) for tensor in tensors),
        "tied_head_stored": TIED_HEAD in names,
        "tensors": [
            {"name": t.name, "parameter": t.parameter, "dtype": t.dtype, "shape": list(t.shape), "bytes": _size(t)}
            for t in tensors
        ],
        "loads": loads,
        "problems": problems,
    }


def kind_of(path: Path) -> str:
    """What a file or directory of weights is, for people."""
    return "openai" if path.name == openai_npy.SHAPES_NAME else sniff(path) or "unknown"


def _files(tensor: StoredTensor) -> list[Path]:
    """What holds a tensor; of a directory with many files, the directory."""
    return [tensor.path] if tensor.path.is_dir() else [region.path for region in tensor.regions]


def _size(tensor: StoredTensor) -> int:
    return sum(region.count for region in tensor.regions) * (
        STORAGE[tensor.dtype].itemsize if tensor.dtype in STORAGE else 1
    )
