"""The prompt and the settings of one call of ``generate``, checked before work starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.errors import InputError
from gptcore.generation.config import GenerationConfig
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import as_array

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Prompt:
    """Checked prompts.

    Attributes:
        input_ids: (B, T).
        attention_mask: (B, T) bool.
        max_new_tokens: how many tokens may follow.
    """

    input_ids: Ids
    attention_mask: NDArray[np.bool_]
    max_new_tokens: int

    @property
    def length(self) -> int:
        """Columns of the prompt."""
        return int(self.input_ids.shape[1])

    @property
    def is_padded(self) -> bool:
        """Whether any row is shorter than the widest."""
        return not self.attention_mask.all()

    def rows(self) -> list[Ids]:
        """The real tokens of each row."""
        return [ids[mask] for ids, mask in zip(self.input_ids, self.attention_mask, strict=True)]

    def repeated(self, times: int) -> Prompt:
        """Each row that many times in a row."""
        ids, mask = np.repeat(self.input_ids, times, 0), np.repeat(self.attention_mask, times, 0)
        return Prompt(ids, mask, self.max_new_tokens)


def check_prompt(
    model: OpenAIGPTConfig, config: GenerationConfig, input_ids: Any, attention_mask: Any = None
) -> Prompt:
    """See that prompts can be continued.

    Args:
        model: gives the limits.
        config: how to generate.
        input_ids: (B, T) integers: an array, or a list of equally long lists.
        attention_mask: (B, T) of 1 and 0; ``None``: all but ``pad_token_id``.

    Raises:
        InputError: says what was received, what is allowed and what to do.
    """
    ids = as_array("input_ids", input_ids)
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise InputError(
            f"input_ids has shape {ids.shape} and dtype {ids.dtype}; expected (batch, sequence) of integers"
        )
    if ids.size == 0:
        raise InputError(f"the prompt is empty: shape {ids.shape}; pass at least one token in each row")
    wrong = (ids < 0) | (ids >= model.vocab_size)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        raise InputError(
            f"input_ids[{row}, {column}] is {ids[row, column]}; allowed are 0 to {model.vocab_size - 1} "
            f"(vocab_size={model.vocab_size})"
        )
    for token in (*config.eos_token_ids, *([] if config.pad_token_id is None else [config.pad_token_id])):
        if token >= model.vocab_size:
            raise InputError(f"token id {token} of the settings; allowed are 0 to {model.vocab_size - 1}")
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
        given = as_array("attention_mask", attention_mask)
        if given.shape != ids.shape or not np.isin(given, (0, 1)).all():
            raise InputError(
                f"attention_mask has shape {given.shape}; expected {ids.shape} of 1 (attend) and 0 (ignore)"
            )
        mask = np.asarray(given != 0, bool)
    empty = np.flatnonzero(~mask.any(-1))
    if len(empty):
        raise InputError(f"row {empty[0]} of the prompt has no token to attend to; leave the row out")
    return mask


def check_room(model: OpenAIGPTConfig, config: GenerationConfig, length: int) -> int:
    """How many tokens may follow a prompt of ``length`` columns.

    Raises:
        InputError: none, or not as many as were asked for.
    """
    new = config.max_new_tokens
    if new is None:
        new = config.max_length - length
        if new < 1:
            raise InputError(
                f"the prompt has {length} tokens, but max_length={config.max_length} counts prompt and continuation; "
                "pass max_new_tokens, or a larger max_length"
            )
    longest = model.n_positions
    if length > longest or (length + new > longest and config.context == "error"):
        raise InputError(
            f"{length} prompt + {new} new tokens = {length + new}, but n_positions={longest}; shorten the prompt, "
            "lower max_new_tokens, or pass context='sliding'"
        )
    return new
