"""Open checkpoints of any format: locate and check them, before their values are loaded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.folder import folder_of, read_tensors
from gptcore.checkpoint.formats import FORMATS
from gptcore.checkpoint.layouts.published import TIED_HEAD
from gptcore.checkpoint.matching import Matching, match
from gptcore.checkpoint.pretrained import files_to_load
from gptcore.checkpoint.stored_config import config_of
from gptcore.checkpoint.tensors import StoredTensor
from gptcore.errors import ConfigError
from gptcore.release import DEFAULT_MODEL, PRODUCER
from gptcore.spec.config import GENERATION_CONFIG_NAME, ConfigOptions, OpenAIGPTConfig
from gptcore.spec.parameters import ARCHITECTURES, SCORE, SUMMARY, Head
from gptcore.storage import hub
from gptcore.storage.cards import CARD_NAME, SOURCE_CARD_NAME

TASK_NAME = "task.json"
"""The file of a checkpoint that names its task and the columns of its tables."""

OTHER_FILES = (
    "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", GENERATION_CONFIG_NAME, TASK_NAME, "encoder_bpe_40000.json", "vocab_40000.bpe", CARD_NAME,
    SOURCE_CARD_NAME,
)  # fmt: skip
"""The files of a model besides its weights and config, which are copied with it."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk: its tensors, its config and its model class."""

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
        """Human-readable name of the format."""
        return ", ".join(containers(self.tensors))

    @property
    def origin(self) -> str:
        """Describes this checkpoint as the source of a conversion: its repository (if any), format and dtype."""
        described = f"{self.form}, {self.dtype}"
        if self.path.resolve() == Path(DEFAULT_MODEL).resolve():
            return f"the model that comes with {PRODUCER}, {described}"
        cached = re.search(r"/models--([^/]+)/snapshots/([0-9a-f]{40})$", source_folder(self).as_posix())
        repo_id = cached[1].replace("--", "/", 1) if cached else ""
        return f"{repo_id} at {cached[2]}, {described}" if cached and hub.REPO_ID.fullmatch(repo_id) else described


def open_checkpoint(
    path_or_repo_id: str | Path,
    *,
    allow_pickle: bool = False,
    head: Head | None = None,
    **options: Unpack[ConfigOptions],
) -> Checkpoint:
    """Find a checkpoint and check it.

    No values are read, except to compare a stored ``lm_head.weight`` with the token embedding.

    Args:
        path_or_repo_id: A folder, a weights file, or ``owner/name``.
        allow_pickle: Whether to read files of ``torch.save``. Their code is never executed. Default: false.
        head: The head of the model. Default: determined by the tensors or the config, else no head.
        options: Options of ``gptcore.storage.hub.resolve``, and settings that override the config.

    Raises:
        CheckpointError, ConfigError: The checkpoint is invalid; if tensors do not fit, the error lists all of them.
        StorageError: The checkpoint does not exist, or cannot be downloaded.
    """
    location, overrides = hub.split_options(options)
    path = Path(path_or_repo_id)
    if not path.is_file():
        path = hub.resolve(path_or_repo_id, files_to_load(allow_pickle, *OTHER_FILES), **location)
    tensors = read_tensors(path, allow_pickle=allow_pickle)
    config = config_of(path, tensors, **overrides)
    head = head or head_of({tensor.parameter for tensor in tensors}, config)
    return Checkpoint(path, tensors, config, head, match(tensors, config, head))


def head_of(names: set[str], config: OpenAIGPTConfig) -> Head:
    """Determine the head by stored head weights, else ``architectures`` in the config, else a stored ``lm_head``."""
    if names & {row.name for row in SCORE}:
        return Head.SEQUENCE_CLASSIFICATION
    if names & {row.name for row in SUMMARY}:
        return Head.DOUBLE_HEADS
    architectures = config.extra.get("architectures")
    if isinstance(architectures, list) and len(architectures) == 1 and architectures[0] in ARCHITECTURES.values():
        return head_named(architectures[0])
    return Head.LM if TIED_HEAD in names else Head.NONE


def head_named(architecture: str) -> Head:
    """The head of a model class, given with or without the prefix of a framework.

    >>> head_named("TFOpenAIGPTLMHeadModel")
    <Head.LM: 'lm'>
    """
    plain = architecture.removeprefix("TF").removeprefix("Flax")
    for head, name in ARCHITECTURES.items():
        if name == plain:
            return head
    raise ConfigError(f"the model class must be one of {', '.join(ARCHITECTURES.values())}; got {architecture!r}.")


def source_folder(checkpoint: Checkpoint) -> Path:
    """The folder of a checkpoint's config and tokenizer."""
    return folder_of(checkpoint.path)


def other_files(folder: Path) -> list[str]:
    """The names in ``OTHER_FILES`` that exist in a folder."""
    return [name for name in OTHER_FILES if (folder / name).is_file()]


def containers(tensors: Iterable[StoredTensor]) -> list[str]:
    """Human-readable names of the formats of stored tensors."""
    return sorted({FORMATS[tensor.form].container for tensor in tensors})
