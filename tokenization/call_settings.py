"""The settings of a call: checked, with defaults from the tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gptcore.errors import TokenizerError
from gptcore.settings import is_integer, unknown
from tokenization.inputs import one_of

PADDINGS = ("longest", "max_length", "do_not_pad")
TRUNCATIONS = ("longest_first", "only_first", "only_second", "do_not_truncate")
SIDES = ("right", "left")
NO_LIMIT = 10**20
"""A ``model_max_length`` above this means no limit."""

WORDS = "word_ids"  # a key of rows, but not of the result of a call
_ARGUMENTS = ("text", "text_pair")
_PADDING_WORDS: Mapping[object, str] = {True: "longest", False: "do_not_pad"}
_TRUNCATION_WORDS: Mapping[object, str] = {True: "longest_first", False: "do_not_truncate"}


class Defaults(Protocol):
    """The settings of a tokenizer that a call uses."""

    model_max_length: int
    padding_side: str
    truncation_side: str
    split_special_tokens: bool

    @property
    def task(self) -> str | None: ...

    @property
    def pad_token(self) -> str | None: ...

    @property
    def pad_token_id(self) -> int | None: ...

    @property
    def pad_token_type_id(self) -> int: ...


class CallSettings:
    """The settings of a call, checked once.

    Args:
        tokenizer: The tokenizer's settings.
        marks: The ids of the tokens of the tokenizer's task, or ``None`` without a task.

    The other arguments are those of a call.
    """

    def __init__(
        self,
        tokenizer: Defaults,
        marks: list[int] | None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        return_overflowing_tokens: bool = False,
        stride: int = 0,
        verbose: bool = True,
        is_split_into_words: bool = False,
        **others: object,
    ) -> None:
        if others:
            known = [*(CallSettings.__init__.__kwdefaults__ or ()), *_ARGUMENTS]
            raise TokenizerError("\n".join(unknown(others, known)))
        if not is_integer(stride) or stride < 0:
            raise TokenizerError(f"stride must be an integer of at least 0; got {stride!r}.")
        if max_length is not None and (not isinstance(max_length, int) or max_length < 1):
            raise TokenizerError(f"max_length must be an integer of at least 1; got {max_length!r}.")
        if truncation is None:
            truncation = max_length is not None and padding is False
        self.truncation = one_of("truncation", _TRUNCATION_WORDS.get(truncation, truncation), TRUNCATIONS)
        self.padding = one_of("padding", _PADDING_WORDS.get(padding, padding), PADDINGS)
        self.model_max_length = tokenizer.model_max_length
        if max_length is None and self.model_max_length < NO_LIMIT:
            max_length = self.model_max_length
        self.max_length = max_length
        self.limit = None if self.truncation == "do_not_truncate" else max_length
        self.task = tokenizer.task if add_special_tokens else None
        self.marks = marks if add_special_tokens else None
        self.as_in_training = truncation is True and self.task is not None
        if self.padding == "max_length" and max_length is None:
            self.padding = "do_not_pad"
        self.fill: dict[str, object] = {}
        if self.padding != "do_not_pad":
            if tokenizer.pad_token is None:
                raise TokenizerError(
                    "cannot pad: this tokenizer, like the published one, has no padding token. Use an existing token "
                    "(tokenizer.pad_token = tokenizer.unk_token), or add one "
                    "(tokenizer.add_special_tokens({'pad_token': '<pad>'}), then "
                    "model.resize_token_embeddings(len(tokenizer)))."
                )
            self.fill = _fill(tokenizer)
        self.multiple = pad_to_multiple_of
        if self.multiple and self.limit and self.padding != "do_not_pad" and self.limit % self.multiple:
            raise TokenizerError(
                f"max_length must be a multiple of pad_to_multiple_of={self.multiple}, because padding and truncation "
                f"are on; got {self.limit}."
            )
        self.padding_side = one_of("padding_side", padding_side or tokenizer.padding_side, SIDES)
        self.truncation_side = tokenizer.truncation_side
        self.split_special_tokens = tokenizer.split_special_tokens
        self.tensors = return_tensors
        self.token_type_ids = bool(return_token_type_ids)
        self.attention_mask = return_attention_mask is None or return_attention_mask
        self.special_tokens_mask = return_special_tokens_mask
        self.offsets = return_offsets_mapping
        self.length = return_length
        self.overflow, self.stride = return_overflowing_tokens, stride if return_overflowing_tokens else 0
        self.verbose = verbose
        self.words = is_split_into_words
        self.is_plain = (
            self.limit is None
            and self.task is None
            and self.padding == "do_not_pad"
            and not (self.token_type_ids or self.special_tokens_mask or self.offsets or self.length or self.overflow)
        )


def _fill(tokenizer: Defaults) -> dict[str, object]:
    """Key of a row -> the value that pads it."""
    return {
        "input_ids": tokenizer.pad_token_id,
        "attention_mask": 0,
        "token_type_ids": tokenizer.pad_token_type_id,
        "special_tokens_mask": 1,
        "offset_mapping": (0, 0),
        WORDS: None,
    }
