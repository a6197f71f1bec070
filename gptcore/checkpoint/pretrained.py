"""What ``from_pretrained`` and ``save_pretrained`` share in all frameworks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gptcore import hub
from gptcore.checkpoint import folder as checkpoint_folder
from gptcore.checkpoint.dtypes import STORAGE, check_dtype, convert
from gptcore.checkpoint.matching import Matching, match
from gptcore.checkpoint.safetensors_file import OutgoingTensor
from gptcore.config import CONFIG_NAME, OpenAIGPTConfig
from gptcore.errors import CheckpointError
from gptcore.layouts.hf_torch import TRUNK_PREFIX
from gptcore.parameters import TRUNK, Head, initial_value, parameters

logger = logging.getLogger("gptcore")

FILES = (CONFIG_NAME, "*.safetensors", checkpoint_folder.INDEX_NAME)
TRUNK_ROOTS = tuple(row.name.split("{")[0] for row in TRUNK)


@dataclass(frozen=True)
class Pretrained:
    """A checkpoint that fits a model, checked but not read yet."""

    config: OpenAIGPTConfig
    head: Head
    dtype: str
    matching: Matching

    def values(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Each parameter's canonical name and values in ``dtype`` (bfloat16 as bits), largest first.

        An array is read when it is reached and can go before the next, so that loading needs little more memory than
        the model; largest first keeps the peak low. Parameters without a source get fresh values.
        """
        missing = {parameter.name for parameter in self.matching.missing}
        table = parameters(self.config, self.head).values()
        for parameter in sorted(table, key=lambda p: -p.size):
            if parameter.name in missing:
                yield parameter.name, convert(initial_value(parameter, self.config, 0), "float32", self.dtype)
            else:
                yield parameter.name, self.matching.sources[parameter.name].read(self.dtype)

    def report(self) -> dict[str, list[str]]:
        """What ``output_loading_info=True`` returns, under transformers' names."""
        return {
            "missing_keys": [parameter.name for parameter in self.matching.missing],
            "unexpected_keys": sorted(self.matching.dropped),
        }


def open_pretrained(path_or_repo_id: str | Path, head: Head, dtype: str | None = None, **options: Any) -> Pretrained:
    """Find a checkpoint and check that it fits a model, before anything of that size is allocated.

    Args:
        path_or_repo_id: a folder, or ``owner/name`` on the hub.
        head: the model to fill.
        dtype: ``float32`` (if ``None``), ``float64``, ``float16``, ``bfloat16``, or ``auto`` for the stored one.
        options: ``revision``, ``cache_dir``, ``local_files_only``, ``token``; all others override the config.

    Raises:
        CheckpointError, ConfigError: with every problem that was found.
    """
    location, overrides = hub.split_options(options)
    folder = hub.resolve(path_or_repo_id, FILES, **location)
    config = OpenAIGPTConfig.from_pretrained(folder, **overrides)
    matching = match(checkpoint_folder.read_tensors(folder), config, head)
    if matching.missing:
        logger.warning(
            "%s: newly initialised, not in the checkpoint: %s",
            head.architecture,
            ", ".join(parameter.name for parameter in matching.missing),
        )
    if dtype == "auto":
        stored = {tensor.dtype for tensor in matching.sources.values()}
        dtype = next(name for name in STORAGE if name in stored)  # the widest
    return Pretrained(config, head, check_dtype(dtype or "float32"), matching)


def fresh_values(config: OpenAIGPTConfig, head: Head, dtype: str, seed: int) -> Iterator[tuple[str, NDArray[Any]]]:
    """Each parameter's canonical name and first value in ``dtype`` (bfloat16 as bits)."""
    for parameter in parameters(config, head).values():
        yield parameter.name, convert(initial_value(parameter, config, seed), "float32", dtype)


def save_pretrained(
    folder: str | Path,
    config: OpenAIGPTConfig,
    head: Head,
    dtype: str,
    values: Iterable[tuple[str, NDArray[Any]]],
    max_shard_size: int | str | None = None,
) -> None:
    """Write a checkpoint folder that all three backends and transformers read.

    Args:
        folder: made if missing.
        config: written as ``config.json`` with the architecture and dtype.
        head: decides the published names.
        dtype: of all values; ``bfloat16`` values are given as bits.
        values: canonical name and array of every parameter.
        max_shard_size: bytes (or like ``"2GB"``) after which a new file begins; ``None`` for one file.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file; save_pretrained wants a folder")
    folder.mkdir(parents=True, exist_ok=True)
    tensors = [OutgoingTensor(published_name(name, head), dtype, array) for name, array in values]
    checkpoint_folder.write_tensors(folder, tensors, max_shard_size)
    kept = {key: value for key, value in config.extra.items() if key != "torch_dtype"}  # the old key for dtype
    config.replace(extra={**kept, "architectures": [head.architecture], "dtype": dtype}).save_pretrained(folder)


def published_name(name: str, head: Head) -> str:
    """The name in published files: head models put ``transformer.`` before the trunk.

    >>> published_name("h.0.ln_1.bias", Head.LM), published_name("score.weight", Head.SEQUENCE_CLASSIFICATION)
    ('transformer.h.0.ln_1.bias', 'score.weight')
    """
    return TRUNK_PREFIX + name if head is not Head.NONE and name.startswith(TRUNK_ROOTS) else name
