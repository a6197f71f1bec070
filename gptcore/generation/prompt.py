"""Checks of the prompt and settings of a ``generate`` call, before work starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.errors import InputError
from gptcore.generation.config import GenerationConfig
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import ArrayInfo, as_array, check_range

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Prompt:
    """Checked prompts.

    Attributes:
        input_ids: Token ids, (B, T).
        attention_mask: Mask, (B, T) bool.
        max_new_tokens: The maximum number of new tokens.
    """

    input_ids: Ids
    attention_mask: NDArray[np.bool_]
    max_new_tokens: int

    @property
    def length(self) -> int:
        """The number of columns of the prompt."""
        return int(self.input_ids.shape[1])

    @property
    def is_padded(self) -> bool:
        """Whether any row is padded."""
        return not self.attention_mask.all()

    def rows(self) -> list[Ids]:
        """The real tokens of each row."""
        return [ids[mask] for ids, mask in zip(self.input_ids, self.attention_mask, strict=True)]

    def repeated(self, times: int) -> Prompt:
        """Return prompts with each row repeated ``times`` times, next to each other."""
        ids, mask = np.repeat(self.input_ids, times, 0), np.repeat(self.attention_mask, times, 0)
        return Prompt(ids, mask, self.max_new_tokens)


def check_prompt(
    model: OpenAIGPTConfig, config: GenerationConfig, input_ids: Any, attention_mask: Any = None
) -> Prompt:
    """Check that prompts can be continued.

    Args:
        model: The config of the model, which sets the limits.
        config: The settings.
        input_ids: Integers, (B, T): an array, or a list of lists of the same length.
        attention_mask: 1 or 0, (B, T). Default: 0 where the id is ``pad_token_id``, unless that id also ends a text;
            else 1.

    Raises:
        InputError: A prompt is invalid, or leaves no room for new tokens.
    """
    ids = as_array("input_ids", input_ids)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise InputError(
            f"input_ids must be integers of shape (batch, sequence); got dtype {ids.dtype} and shape {ids.shape}."
        )
    if ids.size == 0:
        raise InputError(f"the prompt must have at least one token per row; got shape {ids.shape}.")
    info = ArrayInfo(ids.shape, ids.dtype.name, lambda: ids)
    check_range("input_ids", info, 0, model.vocab_size, "vocab_size")
    for token in (*config.eos_token_ids, *([] if config.pad_token_id is None else [config.pad_token_id])):
        if token >= model.vocab_size:
            raise InputError(f"eos_token_id and pad_token_id must be 0 to {model.vocab_size - 1}; got {token}.")
    mask = _mask(config, ids, attention_mask)
    return Prompt(ids.astype(np.int64), mask, check_room(model, config, ids.shape[1]))


def padding_token(config: GenerationConfig) -> int | None:
    """The token that a prompt without a mask does not attend to: padding, unless it also ends a text."""
    return None if config.pad_token_id in config.eos_token_ids else config.pad_token_id


def _mask(config: GenerationConfig, ids: NDArray[Any], attention_mask: Any) -> NDArray[np.bool_]:
    if attention_mask is None:
        pad = padding_token(config)
        mask = np.ones(ids.shape, bool) if pad is None else np.asarray(ids != pad, bool)
    else:
        passed = as_array("attention_mask", attention_mask)
        if passed.shape != ids.shape or not np.isin(passed, (0, 1)).all():
            raise InputError(
                f"attention_mask must hold 0 or 1 (1: attend) and have shape {ids.shape}; got shape {passed.shape} and "
                f"values from {passed.min(initial=1)} to {passed.max(initial=0)}."
            )
        mask = np.asarray(passed != 0, bool)
    empty = np.flatnonzero(~mask.any(-1))
    if len(empty):
        raise InputError(f"each row of the prompt must have a token to attend to; row {empty[0]} has none. Remove it.")
    return mask


def check_room(model: OpenAIGPTConfig, config: GenerationConfig, length: int) -> int:
    """Return the number of new tokens for a prompt of ``length`` columns.

    Raises:
        InputError: The model has no room for that many tokens.
    """
    new = config.max_new_tokens
    if new is None:
        new = config.max_length - length
        if new < 1:
            raise InputError(
                f"the prompt has {length} tokens, but max_length={config.max_length} includes the prompt. Pass "
                "max_new_tokens, or a larger max_length."
            )
    longest = model.n_positions
    if length > longest:
        raise InputError(f"the prompt must have at most {longest} tokens (n_positions); got {length}. Shorten it.")
    if length + new > longest and config.context == "error":
        raise InputError(
            f"cannot generate {new} tokens after a prompt of {length}: n_positions={longest} is less than "
            f"{length + new}. Shorten the prompt, pass a smaller max_new_tokens, or pass context='sliding'."
        )
    return new
