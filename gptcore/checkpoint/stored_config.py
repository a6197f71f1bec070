"""The config of a checkpoint: its ``config.json`` or, without one, the settings that the shapes determine."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptcore.checkpoint.folder import folder_of
from gptcore.checkpoint.formats import FORMATS
from gptcore.checkpoint.layouts.published import TIED_HEAD
from gptcore.checkpoint.tensors import StoredTensor
from gptcore.errors import CheckpointError
from gptcore.spec.config import CONFIG_NAME, OpenAIGPTConfig


def config_of(path: Path, tensors: Sequence[StoredTensor], **overrides: Any) -> OpenAIGPTConfig:
    """Return the config beside the weights or, without one, the config that the shapes and ``overrides`` determine.

    Args:
        path: A folder, a weights file, or a directory that Orbax saved.
        tensors: The tensors of the checkpoint.
        overrides: Settings to change. Without a ``config.json``, pass ``n_head`` (except for OpenAI's format), and
            all settings that differ from their defaults and that no shape determines, such as ``afn``.

    Raises:
        CheckpointError: ``config.json`` is missing, and either the shapes are not those of this architecture or
            ``n_head`` was not passed.
        ConfigError: The config is invalid.
    """
    folder = folder_of(path)
    if (folder / CONFIG_NAME).exists():
        return OpenAIGPTConfig.from_pretrained(folder, **overrides)
    shapes = {tensor.parameter: tensor.shape for tensor in tensors}
    layers = [int(match[1]) for name in shapes if (match := re.match(r"h\.(\d{1,6})\.", name))]
    tokens = shapes.get("tokens_embed.weight", shapes.get(TIED_HEAD, ()))
    positions = shapes.get("positions_embed.weight", ())
    if not layers or len(tokens) != 2 or len(positions) != 2:
        raise CheckpointError(
            f"cannot load {path}: {folder} has no {CONFIG_NAME}, and the shapes are not those of an OpenAI GPT."
        )
    sizes = {"vocab_size": tokens[0], "n_positions": positions[0], "n_embd": tokens[1], "n_layer": max(layers) + 1}
    head_size = FORMATS[tensors[0].form].head_size
    if head_size and tokens[1] % head_size == 0:
        sizes["n_head"] = tokens[1] // head_size
    elif "n_head" not in overrides:
        raise CheckpointError(
            f"cannot load {path}: {CONFIG_NAME} is missing, and no shape determines n_head. Save the config with "
            f"config.save_pretrained({str(folder)!r}), or pass n_head=... and all other settings that are not defaults "
            "(afn, layer_norm_epsilon, ...)."
        )
    if "score.weight" in shapes:
        sizes["num_labels"] = shapes["score.weight"][0]
    return OpenAIGPTConfig(**{**sizes, **overrides})
