"""Calling a tokenizer: one text or many, with truncation, padding and tensors."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from gptcore.errors import InputError, TokenizerError
from tokenization.alignment import Span
from tokenization.encoding import (
    NO_LIMIT,
    PADDINGS,
    SIDES,
    TRUNCATIONS,
    BatchEncoding,
    one_of,
    pad_row,
    to_list,
    truncate_pair,
)
from tokenization.special import SpecialTokensMixin

logger = logging.getLogger("tokenization")

Text = str | Sequence[str] | Sequence[int]
Part = tuple[list[int], list[Span]]
Row = dict[str, Any]


class CallMixin(SpecialTokensMixin):
    """``__call__``, ``encode`` and ``pad``, over what turns one text into ids."""

    pad_token_type_id: ClassVar[int] = 0
    model_max_length: int
    padding_side: str
    truncation_side: str
    _said_too_long: bool

    @abstractmethod
    def _text_ids(self, text: str) -> list[int]:
        """The ids of a text."""

    @abstractmethod
    def _text_ids_and_offsets(self, text: str) -> tuple[list[int], list[Span]]:
        """The ids of a text, and where in the text they come from."""

    @abstractmethod
    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of a token, or a list of ids."""

    @abstractmethod
    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Which part a token belongs to."""

    def encode(
        self,
        text: Text,
        text_pair: Text | None = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        pad_to_multiple_of: int | None = None,
    ) -> Any:
        """The ids of one text (or of tokens, or of ids): a list, or an array of shape (1, T) with ``return_tensors``.

        Arguments are those of a call.
        """
        encoded = self.encode_plus(
            text,
            text_pair,
            add_special_tokens=add_special_tokens,
            padding=padding,
            truncation=truncation,
            max_length=max_length,
            padding_side=padding_side,
            return_tensors=return_tensors,
            pad_to_multiple_of=pad_to_multiple_of,
            return_attention_mask=False,
        )
        return encoded["input_ids"]

    def __call__(
        self,
        text: str | Sequence[str] | Sequence[Sequence[str]],
        text_pair: str | Sequence[str] | Sequence[Sequence[str]] | None = None,
        *,
        is_split_into_words: bool = False,
        **settings: Any,
    ) -> BatchEncoding:
        """Encode a text, a pair of texts, or a batch of either.

        Args:
            text: a text, or a list of them.
            text_pair: as many, each encoded behind its ``text``.
            is_split_into_words: a text is a list of words.
            settings: ``padding`` (``True`` or ``"longest"``, ``"max_length"``, ``False``); ``truncation`` (``True`` or
                ``"longest_first"``, ``"only_first"``, ``"only_second"``, ``False``); ``max_length`` (default: the
                model's); ``pad_to_multiple_of``; ``padding_side``; ``return_tensors`` (``"np"``, ``"pt"``, ``"tf"``,
                ``"jax"``, default lists); ``return_attention_mask`` (default ``True``); ``return_token_type_ids``,
                ``return_special_tokens_mask``, ``return_offsets_mapping``, ``return_length`` (without padding; default
                ``False``).

        Returns:
            ``input_ids``, ``attention_mask`` and what was asked for; ``offset_mapping`` has for each token the start
            and end in the text that was passed, (0, 0) for padding.

        Raises:
            InputError: an input is no text, or the parts of a batch do not fit together.
            TokenizerError: a setting is unknown, or padding is asked for without a padding token.
        """
        is_batch = isinstance(text, (list, tuple))
        if is_batch and is_split_into_words:
            is_batch = bool(text) and isinstance(text[0], (list, tuple))
        if not is_batch:
            return self.encode_plus(text, text_pair, is_split_into_words=is_split_into_words, **settings)  # type: ignore[arg-type]
        if text_pair is None:
            return self.batch_encode_plus(text, is_split_into_words=is_split_into_words, **settings)
        if isinstance(text_pair, str) or len(text_pair) != len(text):
            size = "one text" if isinstance(text_pair, str) else f"{len(text_pair)} texts"
            raise InputError(f"text has {len(text)} texts and text_pair {size}; a batch has as many of both")
        pairs = list(zip(text, text_pair, strict=True))
        return self._encode_batch(pairs, is_split_into_words, settings)

    def encode_plus(
        self, text: Text, text_pair: Text | None = None, *, is_split_into_words: bool = False, **settings: Any
    ) -> BatchEncoding:
        """Encode one text or pair; settings are those of a call."""
        plan = CallSettings(self, **settings)
        row = self._row_of(text, text_pair, is_split_into_words, plan)
        return self._finish([row], plan, batch=False)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Sequence[Any], *, is_split_into_words: bool = False, **settings: Any
    ) -> BatchEncoding:
        """Encode a list of texts, or of pairs (tuples or lists of two); settings are those of a call."""
        if not isinstance(batch_text_or_text_pairs, (list, tuple)):
            raise InputError(f"a batch is a list of texts, not {type(batch_text_or_text_pairs).__name__}")
        pairs: list[tuple[Any, Any]] = []
        for item in batch_text_or_text_pairs:
            is_pair = isinstance(item, (list, tuple)) and not (
                is_split_into_words and not (item and isinstance(item[0], (list, tuple)))
            )
            if is_pair and len(item) != 2:
                raise InputError(f"an item of a batch is a text or a pair of texts, not {len(item)} things")
            pairs.append((item[0], item[1]) if is_pair else (item, None))
        return self._encode_batch(pairs, is_split_into_words, settings)

    def _encode_batch(
        self, pairs: Sequence[tuple[Any, Any]], is_split_into_words: bool, settings: dict[str, Any]
    ) -> BatchEncoding:
        plan = CallSettings(self, **settings)
        if not plan.offsets and all(pair is None and isinstance(text, str) for text, pair in pairs):
            all_ids = self._batch_ids([text for text, _ in pairs])
            if plan.is_plain and max(map(len, all_ids), default=0) <= self.model_max_length:
                masks = {"attention_mask": [[1] * len(ids) for ids in all_ids]} if plan.attention_mask else {}
                return BatchEncoding(input_ids=all_ids, **masks).convert_to_tensors(plan.tensors)
            rows = [self._row((ids, []), None, plan) for ids in all_ids]
        else:
            rows = [self._row_of(text, pair, is_split_into_words, plan) for text, pair in pairs]
        return self._finish(rows, plan, batch=True)

    def _batch_ids(self, texts: list[str]) -> list[list[int]]:
        """The ids of many texts."""
        return [self._text_ids(text) for text in texts]

    def _row_of(self, text: Any, pair: Any, is_split_into_words: bool, plan: CallSettings) -> Row:
        first = self._part(text, is_split_into_words, plan.offsets)
        return self._row(first, None if pair is None else self._part(pair, is_split_into_words, plan.offsets), plan)

    def _row(self, text: Part, pair: Part | None, plan: CallSettings) -> Row:
        """Ids, and what else is asked for, of one text or pair, truncated."""
        first, first_offsets = text
        second, second_offsets = pair or ([], [])
        if plan.limit is not None:
            kept, kept_second = truncate_pair(
                len(first), None if pair is None else len(second), plan.limit, plan.truncation
            )
            first, first_offsets = self._shorten(first, kept), self._shorten(first_offsets, kept)
            if kept_second is not None:
                second, second_offsets = self._shorten(second, kept_second), self._shorten(second_offsets, kept_second)
        elif plan.verbose and len(first) + len(second) > self.model_max_length:
            self._warn_too_long(len(first) + len(second))
        row: Row = {"input_ids": first + second if second else first}
        if plan.token_type_ids:
            row["token_type_ids"] = self.create_token_type_ids_from_sequences(first, None if pair is None else second)
        if plan.attention_mask:
            row["attention_mask"] = [1] * len(row["input_ids"])
        if plan.special_tokens_mask:
            row["special_tokens_mask"] = [0] * len(row["input_ids"])
        if plan.offsets:
            row["offset_mapping"] = first_offsets + second_offsets
        return row

    def _part(self, text: Any, is_split_into_words: bool, offsets: bool) -> Part:
        """Ids, and offsets where wanted, of a text, a list of words, of tokens or of ids."""
        if isinstance(text, str):
            return self._text_ids_and_offsets(text) if offsets else (self._text_ids(text), [])
        if not isinstance(text, (list, tuple)) or not all(isinstance(item, (str, int)) for item in text):
            raise InputError(
                f"a text is a str, or a list of words, tokens or ids, not {type(text).__name__}: {text!r:.80}"
            )
        if is_split_into_words:
            parts = [self._part(word, False, offsets) for word in text]
            return [i for ids, _ in parts for i in ids], [span for _, spans in parts for span in spans]
        if offsets:
            raise InputError("tokens and ids have no offsets; pass a text, or leave return_offsets_mapping out")
        return (list(text) if text and isinstance(text[0], int) else self.convert_tokens_to_ids(list(text))), []

    def _shorten(self, values: list[Any], length: int) -> list[Any]:
        if length >= len(values):
            return values
        return values[:length] if self.truncation_side == "right" else values[len(values) - length :]

    def _finish(self, rows: list[Row], plan: CallSettings, *, batch: bool) -> BatchEncoding:
        if plan.length:
            for row in rows:
                row["length"] = len(row["input_ids"])
        self._pad_rows(rows, plan)
        if batch:
            keys = rows[0] if rows else dict.fromkeys(["input_ids", *["attention_mask"] * plan.attention_mask])
            return BatchEncoding({key: [row[key] for row in rows] for key in keys}).convert_to_tensors(plan.tensors)
        return BatchEncoding(rows[0]).convert_to_tensors(plan.tensors, prepend_batch_axis=True)

    def _pad_rows(self, rows: list[Row], plan: CallSettings) -> None:
        if plan.padding == "do_not_pad" or not rows:
            return
        longest = max(len(row["input_ids"]) for row in rows)
        length = plan.max_length if plan.padding == "max_length" and plan.max_length is not None else longest
        if plan.multiple:
            length = -(-length // plan.multiple) * plan.multiple
        fill = {
            "input_ids": self.pad_token_id,
            "attention_mask": 0,
            "token_type_ids": self.pad_token_type_id,
            "special_tokens_mask": 1,
            "offset_mapping": (0, 0),
        }
        for row in rows:
            pad_row(row, length, plan.side, fill)

    def pad(
        self,
        encoded_inputs: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        padding: bool | str = True,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
    ) -> BatchEncoding:
        """Pad what was encoded before: one row, a dict of lists of rows, or a list of rows.

        Raises:
            InputError: there are no ``input_ids``.
            TokenizerError: there is no padding token.
        """
        if not isinstance(encoded_inputs, Mapping):
            keys = encoded_inputs[0] if encoded_inputs else {}
            encoded_inputs = {key: [example[key] for example in encoded_inputs] for key in keys}
        columns = {key: to_list(value) for key, value in encoded_inputs.items()}
        if "input_ids" not in columns:
            raise InputError(f"there are no input_ids to pad; there are {', '.join(columns) or 'no keys'}")
        batch = bool(columns["input_ids"]) and isinstance(columns["input_ids"][0], list)
        count = len(columns["input_ids"]) if batch else 1
        rows = [{key: value[i] if batch else value for key, value in columns.items()} for i in range(count)]
        plan = CallSettings(
            self,
            padding=padding,
            truncation=False,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            return_attention_mask=return_attention_mask,
            return_tensors=return_tensors,
        )
        for row in rows:
            if plan.attention_mask and "attention_mask" not in row:
                row["attention_mask"] = [1] * len(row["input_ids"])
        self._pad_rows(rows, plan)
        if batch:
            return BatchEncoding({key: [row[key] for row in rows] for key in rows[0]}).convert_to_tensors(plan.tensors)
        return BatchEncoding(rows[0]).convert_to_tensors(plan.tensors)

    def _warn_too_long(self, length: int) -> None:
        if not self._said_too_long:
            logger.warning(
                "a text has %d tokens, and the model takes %d; set truncation=True", length, self.model_max_length
            )
        self._said_too_long = True


class CallSettings:
    """The settings of a call, checked once."""

    def __init__(
        self,
        tokenizer: CallMixin,
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
        verbose: bool = True,
    ) -> None:
        del add_special_tokens  # there are none around a text
        if max_length is not None and (not isinstance(max_length, int) or max_length < 1):
            raise TokenizerError(f"max_length is {max_length!r}; it is a whole number from 1")
        if truncation is None:
            truncation = "longest_first" if max_length is not None and padding is False else False
        spelled = {True: "longest_first", False: "do_not_truncate"}
        self.truncation = one_of("truncation", spelled.get(truncation, truncation), TRUNCATIONS)  # type: ignore[arg-type]
        spelled = {True: "longest", False: "do_not_pad"}
        self.padding = one_of("padding", spelled.get(padding, padding), PADDINGS)  # type: ignore[arg-type]
        if max_length is None and tokenizer.model_max_length < NO_LIMIT:
            max_length = tokenizer.model_max_length
        self.max_length = max_length
        self.limit = None if self.truncation == "do_not_truncate" else max_length
        if self.padding == "max_length" and max_length is None:
            self.padding = "do_not_pad"
        if self.padding != "do_not_pad" and tokenizer.pad_token is None:
            raise TokenizerError(
                "padding needs a padding token, and this tokenizer has none, as OpenAI GPT was published without one. "
                "Take one of the vocabulary (tokenizer.pad_token = tokenizer.unk_token), or add one "
                "(tokenizer.add_special_tokens({'pad_token': '<pad>'}), and then "
                "model.resize_token_embeddings(len(tokenizer)))"
            )
        self.multiple = pad_to_multiple_of
        if self.multiple and self.limit and self.padding != "do_not_pad" and self.limit % self.multiple:
            raise TokenizerError(
                f"max_length {self.limit} is not a multiple of pad_to_multiple_of {self.multiple}; with padding and "
                "truncation it has to be"
            )
        self.side = one_of("padding_side", padding_side or tokenizer.padding_side, SIDES)
        self.tensors = return_tensors
        self.token_type_ids = bool(return_token_type_ids)
        self.attention_mask = return_attention_mask is None or return_attention_mask
        self.special_tokens_mask = return_special_tokens_mask
        self.offsets = return_offsets_mapping
        self.length = return_length
        self.verbose = verbose
        self.is_plain = (
            self.limit is None
            and self.padding == "do_not_pad"
            and not (self.token_type_ids or self.special_tokens_mask or self.offsets or self.length)
        )
