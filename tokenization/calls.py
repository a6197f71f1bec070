"""Calling a tokenizer: one text or many, with truncation, padding and tensors."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from gptcore.errors import InputError, TokenizerError
from gptcore.settings import is_integer, unknown
from gptcore.spec.tasks import check_texts, part_length
from tokenization.encoding import (
    NO_LIMIT,
    PADDINGS,
    SIDES,
    TRUNCATIONS,
    BatchEncoding,
    as_list,
    joined,
    one_of,
    pad_row,
    plain_text,
    to_list,
    truncate_pair,
)
from tokenization.special import SpecialTokensMixin
from tokenization.text_paths.alignment import Span

logger = logging.getLogger("tokenization")

Text = str | Sequence[str] | Sequence[int]
Part = tuple[list[int], list[Span], list[int]]
"""Ids and, on request, the span and the word that each of them comes from."""

Row = dict[str, Any]
WORDS = "word_ids"  # of a row; not a key of what a call returns
_ARGUMENTS = ("text", "text_pair")


class CallMixin(SpecialTokensMixin):
    """``__call__``, ``encode`` and ``pad``."""

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
        **settings: Any,
    ) -> Any:
        """Encode one text (or tokens, or ids) to a list of ids or, with ``return_tensors``, an array of shape (1, T).

        The arguments are those of a call.
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
            **{**settings, "return_attention_mask": False},
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

        The tokenizer of a fine-tuned model has a ``task``. It adds the task's tokens to a text
        (``_start_ text _classify_``) or a pair (``_start_ text _delimiter_ text_pair _classify_``), as in training.
        ``truncation=True`` then also cuts as in training: a text to ``max_length - 2`` tokens, each text of a pair to
        ``max_length // 2 - 2``. An input of similarity or multiple choice has several rows, so a call raises an
        error: use ``gptcore.pipeline``. ``add_special_tokens=False`` leaves out the task's tokens.

        Args:
            text: A text, or several texts: a list, an array, a column of a table, another sequence, or an iterator.
            text_pair: The same number of second texts, each encoded after its ``text``. Default: none.
            is_split_into_words: Whether each text is a list of words; ``word_ids()`` of the result then gives the word
                of each token. Default: false.
            settings: ``add_special_tokens`` (default ``True``: those of the ``task``); ``padding`` (``True`` or
                ``"longest"``, ``"max_length"``, ``False``); ``truncation`` (``True`` or ``"longest_first"``,
                ``"only_first"``, ``"only_second"``, ``False``); ``max_length`` (default: the model's);
                ``pad_to_multiple_of``; ``padding_side``; ``return_tensors`` (``"np"``, ``"pt"``, ``"tf"``, ``"jax"``,
                default lists); ``return_attention_mask`` (default ``True``); ``return_token_type_ids``,
                ``return_special_tokens_mask``, ``return_offsets_mapping``, ``return_length`` (without padding; default
                ``False``); ``return_overflowing_tokens``: what truncation cuts off follows in rows of its own, as in
                transformers' fast class; each begins with the last ``stride`` (default 0) tokens of the row before.

        Returns:
            ``input_ids``, ``attention_mask`` and the requested keys. ``offset_mapping`` has the start and end of each
            token in the passed text, (0, 0) for padding and for the tokens of the task. With
            ``return_overflowing_tokens``, the result is always a batch, and ``overflow_to_sample_mapping`` gives the
            text that each row comes from.

        Raises:
            InputError: an input is not a text or does not fit the task, or the two lists of a batch of pairs have
                different lengths.
            TokenizerError: a setting is unknown, or padding is requested without a padding token.
        """
        text, text_pair = as_list(text), as_list(text_pair)
        is_batch = _is_list(text) and not (is_split_into_words and _are_words(text))
        if not is_batch:
            return self.encode_plus(text, text_pair, is_split_into_words=is_split_into_words, **settings)  # type: ignore[arg-type]
        if text_pair is None:
            return self.batch_encode_plus(text, is_split_into_words=is_split_into_words, **settings)
        if not _is_list(text_pair) or len(text_pair) != len(text):
            size = f"{len(text_pair)} texts" if _is_list(text_pair) else "one text"
            raise InputError(f"text and text_pair must have the same length; got {len(text)} texts and {size}.")
        return self._encode_batch(list(zip(text, text_pair, strict=True)), is_split_into_words, settings)

    def encode_plus(
        self, text: Text, text_pair: Text | None = None, *, is_split_into_words: bool = False, **settings: Any
    ) -> BatchEncoding:
        """Encode one text or pair; settings are those of a call."""
        plan = CallSettings(self, is_split_into_words=is_split_into_words, **settings)
        texts = [plain_text(text, "text")]
        if text_pair is not None:
            texts.append(plain_text(text_pair, "text_pair"))
        return self._finish(self._rows_of(texts, plan), plan, batch=plan.overflow)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Sequence[Any], *, is_split_into_words: bool = False, **settings: Any
    ) -> BatchEncoding:
        """Encode several texts, or pairs (tuples or lists of two); settings are those of a call."""
        batch = as_list(batch_text_or_text_pairs)
        if not _is_list(batch):
            raise InputError(f"a batch must be a list of texts; got {type(batch_text_or_text_pairs).__name__}.")
        items: list[Any] = []
        for i, item in enumerate(batch):
            parts = item if isinstance(item, str) else as_list(item)
            is_pair = _is_list(parts) and not (is_split_into_words and _are_words(parts))
            if is_pair and len(parts) != 2:
                raise InputError(f"texts[{i}] must be a text or a pair of texts; got {len(parts)} items.")
            items.append(parts if is_pair or isinstance(item, str) else [parts])
        return self._encode_batch(items, is_split_into_words, settings)

    def _encode_batch(self, items: Sequence[Any], is_split_into_words: bool, settings: dict[str, Any]) -> BatchEncoding:
        """Encode items: each is a str, or a sequence of one or two inputs of ``plain_text``."""
        plan = CallSettings(self, is_split_into_words=is_split_into_words, **settings)
        if not plan.offsets and not plan.words and all(isinstance(item, str) for item in items):
            all_ids = self._batch_ids(list(items))
            if plan.is_plain and max(map(len, all_ids), default=0) <= self.model_max_length:
                masks = {"attention_mask": [[1] * len(ids) for ids in all_ids]} if plan.attention_mask else {}
                return BatchEncoding(input_ids=all_ids, **masks).convert_to_tensors(plan.tensors)
            rows = [row for i, ids in enumerate(all_ids) for row in self._rows((ids, [], []), None, plan, i)]
        else:
            checked = [
                [plain_text(text, f"{name}[{i}]") for text, name in zip(texts, ("texts", "text_pair"), strict=False)]
                for i, texts in enumerate([item] if isinstance(item, str) else item for item in items)
            ]
            rows = [row for i, texts in enumerate(checked) for row in self._rows_of(texts, plan, i)]
        return self._finish(rows, plan, batch=True)

    def _batch_ids(self, texts: list[str]) -> list[list[int]]:
        """The ids of many texts."""
        return [self._text_ids(text) for text in texts]

    def _rows_of(self, texts: Sequence[Any], plan: CallSettings, sample: int = 0) -> list[Row]:
        """Encode one or two results of ``plain_text`` to rows."""
        first, *others = (self._part(text, plan.words, plan.offsets) for text in texts)
        return self._rows(first, others[0] if others else None, plan, sample)

    def _rows(self, text: Part, pair: Part | None, plan: CallSettings, sample: int) -> list[Row]:
        """Truncate a text or pair to one row and, on request, more rows with the overflowing tokens."""
        length, pair_length = len(text[0]), None if pair is None else len(pair[0])
        if plan.task is not None:
            check_texts(plan.task, 1 if pair is None else 2)
        if plan.limit is None:
            row = self._row(text, pair, plan, sample)
            if plan.verbose and len(row["input_ids"]) > self.model_max_length:
                self._warn_too_long(len(row["input_ids"]))
            return [row]
        if plan.overflow and pair is not None and plan.truncation == "longest_first":
            raise InputError(
                "return_overflowing_tokens with pairs needs truncation='only_first' or 'only_second'; got "
                "'longest_first'."
            )
        kept, kept_pair = plan.kept(length, pair_length)
        texts = self._windows(text, kept, plan)
        pairs = [None] if pair is None or kept_pair is None else self._windows(pair, kept_pair, plan)
        return [self._row(first, second, plan, sample) for first in texts for second in pairs]

    def _windows(self, part: Part, length: int, plan: CallSettings) -> list[Part]:
        """Cut a part to ``length`` and, on request, into more windows of this length that share ``stride`` tokens."""
        ids, offsets, words = part
        total, step = len(ids), length - plan.stride
        if length >= total:
            return [part]
        if plan.overflow and step < 1:
            raise InputError(
                f"stride must be less than {length}, the number of tokens that truncation keeps; got {plan.stride}. "
                "Lower stride, or raise max_length."
            )
        count = 1 - (length - total) // step if plan.overflow else 1
        if self.truncation_side == "right":
            cuts = [slice(i * step, i * step + length) for i in range(count)]
        else:
            cuts = [slice(max(0, total - i * step - length), total - i * step) for i in range(count)]
        return [(ids[cut], offsets[cut], words[cut]) for cut in cuts]

    def _row(self, text: Part, pair: Part | None, plan: CallSettings, sample: int) -> Row:
        """A row with the ids and the requested keys."""
        parts = (text,) if pair is None else (text, pair)

        def row_of(values: Any, *marks: Any) -> Any:
            return joined(values, marks if plan.marks else None)

        row: Row = {"input_ids": joined([part[0] for part in parts], plan.marks)}
        if plan.token_type_ids:
            row["token_type_ids"] = row_of([[i] * len(part[0]) for i, part in enumerate(parts)], 0, 0, len(parts) - 1)
        if plan.attention_mask:
            row["attention_mask"] = [1] * len(row["input_ids"])
        if plan.special_tokens_mask:
            row["special_tokens_mask"] = row_of([[0] * len(part[0]) for part in parts], 1, 1, 1)
        if plan.offsets:
            row["offset_mapping"] = row_of([part[1] for part in parts], (0, 0), (0, 0), (0, 0))
        if plan.overflow:
            row["overflow_to_sample_mapping"] = sample
        if plan.words:
            row[WORDS] = row_of([part[2] for part in parts], None, None, None)
        return row

    def _part(self, text: Any, is_split_into_words: bool, offsets: bool) -> Part:
        """The ids and, on request, the offsets of a result of ``plain_text``."""
        if is_split_into_words:
            words = [text] if isinstance(text, str) else text
            parts = [self._part(plain_text(word, "a word"), False, offsets) for word in words]
            ids = [token_id for part in parts for token_id in part[0]]
            spans = [span for part in parts for span in part[1]]
            return ids, spans, [i for i, part in enumerate(parts) for _ in part[0]]
        if isinstance(text, str):
            return (*self._text_ids_and_offsets(text), []) if offsets else (self._text_ids(text), [], [])
        if offsets:
            raise InputError("cannot return offsets of tokens or ids. Pass a text, or omit return_offsets_mapping.")
        return (text if text and isinstance(text[0], int) else self.convert_tokens_to_ids(text)), [], []

    def _finish(self, rows: list[Row], plan: CallSettings, *, batch: bool) -> BatchEncoding:
        if plan.length:
            for row in rows:
                row["length"] = len(row["input_ids"])
        self._pad_rows(rows, plan)
        words = [row.pop(WORDS) for row in rows] if plan.words else None
        if batch:
            keys = rows[0] if rows else dict.fromkeys(["input_ids", *["attention_mask"] * plan.attention_mask])
            encoding = BatchEncoding({key: [row[key] for row in rows] for key in keys})
        else:
            encoding = BatchEncoding(rows[0])
        encoding._words = words
        return encoding.convert_to_tensors(plan.tensors, prepend_batch_axis=not batch)

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
            WORDS: None,
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
        """Pad encoded inputs: one row, a dict of lists of rows, or a list of rows.

        Raises:
            InputError: ``input_ids`` are missing.
            TokenizerError: the tokenizer has no padding token.
        """
        if not isinstance(encoded_inputs, Mapping):
            examples = as_list(encoded_inputs)
            keys = examples[0] if examples else {}
            encoded_inputs = {key: [example[key] for example in examples] for key in keys}
        columns = {key: to_list(value) for key, value in encoded_inputs.items()}
        if "input_ids" not in columns:
            raise InputError(f"encoded_inputs must have input_ids; got {', '.join(columns) or 'no keys'}.")
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
                "A text has %d tokens, but the model accepts at most %d. Pass truncation=True.",
                length,
                self.model_max_length,
            )
        self._said_too_long = True


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _are_words(items: Sequence[Any]) -> bool:
    """Whether items are the words of one text rather than several texts."""
    return not items or isinstance(items[0], (str, int))


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
        return_overflowing_tokens: bool = False,
        stride: int = 0,
        verbose: bool = True,
        is_split_into_words: bool = False,
        **others: Any,
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
        spelled = {True: "longest_first", False: "do_not_truncate"}
        self.truncation = one_of("truncation", spelled.get(truncation, truncation), TRUNCATIONS)  # type: ignore[arg-type]
        spelled = {True: "longest", False: "do_not_pad"}
        self.padding = one_of("padding", spelled.get(padding, padding), PADDINGS)  # type: ignore[arg-type]
        if max_length is None and tokenizer.model_max_length < NO_LIMIT:
            max_length = tokenizer.model_max_length
        self.max_length = max_length
        self.limit = None if self.truncation == "do_not_truncate" else max_length
        self.task = tokenizer.task if add_special_tokens else None
        self.marks = tokenizer._marks() if add_special_tokens else None
        self.as_in_training = truncation is True and self.task is not None
        if self.padding == "max_length" and max_length is None:
            self.padding = "do_not_pad"
        if self.padding != "do_not_pad" and tokenizer.pad_token is None:
            raise TokenizerError(
                "cannot pad: this tokenizer, like the published one, has no padding token. Use an existing token "
                "(tokenizer.pad_token = tokenizer.unk_token), or add one "
                "(tokenizer.add_special_tokens({'pad_token': '<pad>'}), then "
                "model.resize_token_embeddings(len(tokenizer)))."
            )
        self.multiple = pad_to_multiple_of
        if self.multiple and self.limit and self.padding != "do_not_pad" and self.limit % self.multiple:
            raise TokenizerError(
                f"max_length must be a multiple of pad_to_multiple_of={self.multiple}, because padding and truncation "
                f"are on; got {self.limit}."
            )
        self.side = one_of("padding_side", padding_side or tokenizer.padding_side, SIDES)
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

    def kept(self, length: int, pair_length: int | None) -> tuple[int, int | None]:
        """The number of tokens to keep of a text, or of each text of a pair, so that the row has at most ``limit``.

        Raises:
            InputError: the task's tokens leave no room, or the text that the strategy cuts is too short.
        """
        assert self.limit is not None
        parts = 1 if pair_length is None else 2
        added = 0 if self.task is None else parts + 1
        room = part_length(self.limit, parts) if self.as_in_training else self.limit - added
        if added and room < 1:
            raise InputError(f"max_length must leave room for text beside the tokens of {self.task}; got {self.limit}.")
        if self.as_in_training:
            return min(length, room), None if pair_length is None else min(pair_length, room)
        return truncate_pair(length, pair_length, room, self.truncation)
