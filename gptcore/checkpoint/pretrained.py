"""The common part of ``from_pretrained`` and ``save_pretrained`` in all frameworks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from numpy.typing import NDArray

from gptcore.checkpoint.dtypes import STORAGE, check_dtype, convert, dtype_of
from gptcore.checkpoint.folder import check_writable, read_tensors, weights_files, write_tensors
from gptcore.checkpoint.matching import Matching, match
from gptcore.checkpoint.stored_config import config_of
from gptcore.checkpoint.tensors import OutgoingTensor
from gptcore.errors import CheckpointError, bullet_list
from gptcore.idioms import LOADING, without_idioms
from gptcore.spec.config import CONFIG_NAME, GENERATION_CONFIG_NAME, ConfigOptions, OpenAIGPTConfig
from gptcore.spec.parameters import SCORE, Head, Parameter, initial_value, parameters
from gptcore.storage import hub
from gptcore.storage.transaction import Transaction

logger = logging.getLogger("gptcore")

LABELS = ("num_labels", "id2label", "label2id", "problem_type")
SHOWN_LABELS = 5


@dataclass(frozen=True)
class Pretrained:
    """A checkpoint that is checked to fit a model; ``values`` reads its tensors."""

    config: OpenAIGPTConfig
    head: Head
    dtype: str
    matching: Matching
    folder: Path

    def values(self, seed: int = 0) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield the canonical name and the values of each parameter in ``dtype`` (bfloat16 as bits), the largest first.

        Each array is read when it is reached and can be freed before the next, so loading needs little more memory than
        the model; starting with the largest keeps the peak low. Missing parameters are initialised from ``seed``.
        """
        missing = {parameter.name for parameter in self.matching.missing}
        table = parameters(self.config, self.head).values()
        for parameter in sorted(table, key=lambda p: -p.size):
            if parameter.name in missing:
                yield parameter.name, convert(initial_value(parameter, self.config, seed), "float32", self.dtype)
            else:
                yield parameter.name, self.matching.sources[parameter.name].read(self.dtype)

    def report(self) -> dict[str, list[str]]:
        """The result of ``output_loading_info=True``, with the keys of transformers."""
        return {
            "missing_keys": [parameter.name for parameter in self.matching.missing],
            "unexpected_keys": sorted(self.matching.dropped),
        }


def files_to_load(allow_pickle: bool, *others: str) -> hub.Choose:
    """Return a function that selects the files to load: the configs, the weights in one format, and ``others``."""

    def choose(names: Sequence[str]) -> list[str]:
        return [*hub.named(CONFIG_NAME, GENERATION_CONFIG_NAME, *others)(names), *weights_files(names, allow_pickle)]

    return choose


class LoadingOptions(ConfigOptions, total=False):
    """The keywords of ``from_pretrained`` that ``open_pretrained`` accepts."""

    allow_pickle: bool
    ignore_mismatched_sizes: bool
    ignore_mismatched_labels: bool


def open_pretrained(
    path_or_repo_id: str | Path,
    head: Head,
    dtype: str | None = None,
    *,
    allow_pickle: bool = False,
    ignore_mismatched_sizes: bool = False,
    ignore_mismatched_labels: bool = False,
    **options: Unpack[ConfigOptions],
) -> Pretrained:
    """Find a checkpoint and check that it fits a model, before memory for the model is allocated.

    Args:
        path_or_repo_id: A folder, a weights file, or ``owner/name`` on the hub.
        head: The head, which selects the model class.
        dtype: ``float32`` (default), ``float64``, ``float16``, ``bfloat16``, or ``auto`` for the stored dtype.
        allow_pickle: Whether to read files of ``torch.save``. Their code is never executed. Default: false.
        ignore_mismatched_sizes: Whether to replace a head of another shape, for example for another number of labels,
            by a new one. The trunk must fit. Default: false.
        ignore_mismatched_labels: Whether to replace a classification head whose labels differ in number, names or order
            by a new one, to train on new labels. Works without ``ignore_mismatched_sizes``. Default: false.
        options: ``revision``, ``cache_dir``, ``local_files_only`` and ``token``, and settings that override the config.

    Raises:
        CheckpointError, ConfigError: The checkpoint or a setting is invalid; if tensors do not fit, the error lists all
            of them.
        StorageError: The checkpoint does not exist, or cannot be downloaded.
    """
    location, overrides = hub.split_options(without_idioms(options, LOADING))
    path = Path(path_or_repo_id)
    if not path.is_file():
        path = hub.resolve(path_or_repo_id, files_to_load(allow_pickle), **location)
    tensors = read_tensors(path, allow_pickle=allow_pickle)
    config = config_of(path, tensors, **overrides)
    names = {tensor.parameter for tensor in tensors}
    stored = None
    if (ignore_mismatched_labels or "id2label" in overrides) and SCORE[0].name in names:
        others = {name: value for name, value in overrides.items() if name not in LABELS}
        stored = config_of(path, tensors, **others)
    is_other = ignore_mismatched_labels and stored is not None and stored.id2label != config.id2label
    without = {SCORE[0].name} if is_other else set()
    matching = match(tensors, config, head, ignore_mismatched_sizes=ignore_mismatched_sizes, without=without)
    missing = ", ".join(parameter.name for parameter in matching.missing)
    if missing and stored is not None and head is Head.SEQUENCE_CLASSIFICATION:
        text = "The checkpoint's head for %s is replaced by a new, untrained one for %s."
        logger.warning(text, _labels_of(stored), _labels_of(config))
    elif missing:
        verb, lacks = ("is", "it") if len(matching.missing) == 1 else ("are", "them")
        shape = " in this shape" if any(parameter.name in names for parameter in matching.missing) else ""
        text = (
            "%s: %s %s new and untrained, because the checkpoint lacks %s%s. Train the model before using its "
            "predictions."
        )
        logger.warning(text, head.architecture, missing, verb, lacks, shape)
    elif stored is not None:
        _warn_of_renamed_labels(stored, config)
    if dtype == "auto":
        dtypes = {tensor.dtype for tensor in matching.sources.values()}
        dtype = next(name for name in STORAGE if name in dtypes)  # the widest
    return Pretrained(config, head, check_dtype(dtype or "float32"), matching, path.parent if path.is_file() else path)


def _labels_of(config: OpenAIGPTConfig) -> str:
    """The number of labels of a config, and the names of the first ones."""
    if config.problem_type == "regression":
        return "scores"
    names = ", ".join(repr(config.id2label[i]) for i in range(min(config.num_labels, SHOWN_LABELS)))
    more = ", ..." if config.num_labels > SHOWN_LABELS else ""
    return f"{config.num_labels:,} labels ({names}{more})"


def _warn_of_renamed_labels(stored: OpenAIGPTConfig, config: OpenAIGPTConfig) -> None:
    """Warn that the labels of a trained head are renamed: its rows still predict the classes of the old names."""
    renamed = [
        f"{name!r} to {config.id2label[i]!r}"
        for i, name in stored.id2label.items()
        if name != f"LABEL_{i}" and config.id2label.get(i, name) != name
    ]
    if renamed:
        names = ", ".join(renamed[:SHOWN_LABELS])
        logger.warning("The head of the checkpoint is kept, but its labels are renamed: %s.", names)


def fresh_values(config: OpenAIGPTConfig, head: Head, dtype: str, seed: int) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield the canonical name and the initial values of each parameter in ``dtype`` (bfloat16 as bits)."""
    for parameter in parameters(config, head).values():
        yield parameter.name, convert(initial_value(parameter, config, seed), "float32", dtype)


def save_pretrained(
    folder: str | Path,
    config: OpenAIGPTConfig,
    head: Head,
    dtype: str,
    values: Iterable[tuple[str, NDArray[Any]]],
    max_shard_size: int | str | None = None,
    form: str = "safetensors",
) -> None:
    """Save a checkpoint folder that all three backends and transformers can load.

    Args:
        folder: The folder; created if missing.
        config: The config, saved as ``config.json`` with the architecture and dtype.
        head: The head, which determines the published names.
        dtype: The dtype of the model, saved in ``config.json``.
        values: Canonical name and array of every parameter, bfloat16 as bits. Each is saved in the dtype of its array.
        max_shard_size: Maximum size of a file in bytes, or a string such as ``"2GB"``; a larger tensor gets a file of
            its own. Default: one file.
        form: The format: ``safetensors`` (default), ``pytorch``, ``tf``, ``keras``, ``flax``, ``orbax`` or ``openai``.

    Raises:
        CheckpointError, ConfigError, StorageError: The checkpoint cannot be saved; the folder is unchanged.
    """
    table = parameters(config, head)
    tensors = [(table[name], OutgoingTensor.of(name, dtype_of(array), array)) for name, array in values]
    check_writable(form, {tensor.dtype for _, tensor in tensors}, max_shard_size)
    with Transaction(folder) as changes:
        write_checkpoint(changes, config, head, dtype, tensors, form, max_shard_size)


def check_modules(head: Head, missing: Sequence[str], others: Sequence[str] = ()) -> None:
    """Check, before saving, that a model has exactly the weights of its parameter table.

    Raises:
        CheckpointError: Weights are missing, or the model has weights that a checkpoint cannot hold; the error lists
            them.
    """
    if missing:
        raise CheckpointError(
            f"cannot read the weights of {head.architecture}: some are missing. Put back the original modules, "
            "merge and unload adapters, or (in PyTorch) pass a whole state_dict.\n" + bullet_list(list(missing))
        )
    if others:
        raise CheckpointError(
            f"cannot save {head.architecture}: a checkpoint has no place for these parameters. Merge adapters into the "
            "weights, remove added modules, or save the whole model as your framework does.\n"
            + bullet_list(list(others))
        )


def write_checkpoint(
    changes: Transaction,
    config: OpenAIGPTConfig,
    head: Head,
    dtype: str,
    tensors: Sequence[tuple[Parameter, OutgoingTensor]],
    form: str = "safetensors",
    max_shard_size: int | str | None = None,
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write ``config.json`` and the weights, like ``save_pretrained``, for tensors that need not be in memory.

    ``provenance`` is stored in formats that support metadata.
    """
    misfits = [
        f"{parameter.name} must have shape {parameter.shape}; got {tensor.shape}"
        for parameter, tensor in tensors
        if tensor.shape != parameter.shape
    ]
    if misfits:
        raise CheckpointError(
            f"cannot save {head.architecture}: its weights do not fit its config. Restore the original modules, or set "
            f"a config with matching sizes.\n" + bullet_list(misfits)
        )
    write_tensors(changes, tensors, head, form, max_shard_size, provenance)
    extra = {key: value for key, value in config.extra.items() if key != "torch_dtype"}  # the old key for dtype
    saved_config = config.replace(extra={**extra, "architectures": [head.architecture], "dtype": dtype})
    with changes.file(CONFIG_NAME) as file:
        file.write(saved_config.to_json_string().encode())
