"""The interface of both tokenizers, with everything that does not depend on how a word is split into pieces."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from gptcore.errors import InputError, TokenizerError
from gptcore.spec.tasks import TASK_TOKENS, check_texts
from tokenization.added import ADDITIONAL, NAMED, AnyToken, Segment
from tokenization.calls import CallMixin
from tokenization.encoding import SIDES, as_list, joined, one_of, to_list
from tokenization.pretrained import PretrainedMixin
from tokenization.readable import readable_text
from tokenization.text_paths.alignment import Aligned, Span
from tokenization.text_paths.characters import lower
from tokenization.text_paths.modes import pre_tokenizer as make_pre_tokenizer
from tokenization.vocabulary import Vocabulary, read_vocabulary


class TokenizerBase(CallMixin, PretrainedMixin):
    """A tokenizer. Names, arguments and results are those of transformers 4.57.

    Args:
        vocab_file: Path of ``vocab.json``, the pieces with their ids.
        merges_file: Path of ``merges.txt``, the merges in order.
        pre_tokenizer: The text path. ``"original"`` is the path that the published model was trained on (ftfy and
            spaCy's English rules), ``"basic"`` is BERT's and gives different ids. ``"auto"`` (default) resolves to
            original if spaCy and ftfy are installed, else to basic, and logs its choice once.
        unk_token: Token for characters that are not in the vocabulary. Default: ``"<unk>"``.
        model_max_length: Maximum number of tokens that the model accepts; the default of ``max_length``. Default: no
            limit.
        padding_side, truncation_side: Side at which to pad and truncate, ``"right"`` (default) or ``"left"``.
        clean_up_tokenization_spaces: Whether ``decode`` removes spaces before some punctuation. Default: false.
        split_special_tokens: Whether special tokens in a text are treated as plain text. Default: false.
        rules: Required fingerprint of the rules of the text path. Default: any known one.
        task: Task whose tokens a call adds to a text; see ``SpecialTokensMixin.task``. Default: none.
        options: Special tokens by name (``pad_token="<pad>"``, ``additional_special_tokens=[...]``), and
            ``added_tokens_decoder``. Other options have no effect, but are saved.

    Raises:
        TokenizerError: a file or a setting is invalid, or the text path needs a package that is not installed.
    """

    is_fast: ClassVar[bool]
    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask"]
    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "vocab.json", "merges_file": "merges.txt"}
    do_lower_case: ClassVar[bool] = True
    _unpickled: ClassVar[tuple[str, ...]] = ("_said_too_long",)  # what a call may change, or _tokens_changed makes

    def __init__(
        self,
        vocab_file: str | Path,
        merges_file: str | Path,
        pre_tokenizer: str = "auto",
        unk_token: AnyToken = "<unk>",
        *,
        model_max_length: int | float | None = None,
        padding_side: str = "right",
        truncation_side: str = "right",
        clean_up_tokenization_spaces: bool = False,
        split_special_tokens: bool = False,
        rules: str | None = None,
        task: str | None = None,
        **options: Any,
    ) -> None:
        vocabulary = read_vocabulary(vocab_file, merges_file)
        self._start(
            vocabulary,
            pre_tokenizer=pre_tokenizer,
            unk_token=unk_token,
            model_max_length=model_max_length,
            padding_side=padding_side,
            truncation_side=truncation_side,
            clean_up_tokenization_spaces=clean_up_tokenization_spaces,
            split_special_tokens=split_special_tokens,
            rules=rules,
            task=task,
            **options,
        )

    def _start(
        self,
        vocabulary: Vocabulary,
        *,
        pre_tokenizer: str = "auto",
        unk_token: AnyToken = "<unk>",
        model_max_length: int | float | None = None,
        padding_side: str = "right",
        truncation_side: str = "right",
        clean_up_tokenization_spaces: bool = False,
        split_special_tokens: bool = False,
        rules: str | None = None,
        task: str | None = None,
        **options: Any,
    ) -> None:
        self._path = make_pre_tokenizer(pre_tokenizer, rules)
        try:
            self.model_max_length = int(1e30) if model_max_length is None else int(model_max_length)
        except (TypeError, ValueError, OverflowError) as cause:
            raise TokenizerError(f"model_max_length must be a number of tokens; got {model_max_length!r}.") from cause
        self.padding_side = one_of("padding_side", padding_side, SIDES)
        self.truncation_side = one_of("truncation_side", truncation_side, SIDES)
        self.clean_up_tokenization_spaces = bool(clean_up_tokenization_spaces)
        self.split_special_tokens = bool(split_special_tokens)
        self._said_too_long = False
        self._start_special(vocabulary, {"unk_token": unk_token, **options})
        if task is not None:
            self.task = task
        self.init_kwargs = {
            name: value for name, value in options.items() if name not in (*NAMED, ADDITIONAL, "added_tokens_decoder")
        }

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name not in self._unpickled}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._said_too_long = False
        self._tokens_changed()

    # Sizes and names.

    @property
    def pre_tokenizer(self) -> str:
        """The text path: ``"basic"`` or ``"original"``."""
        return self._path.name

    @property
    def rules(self) -> str:
        """The fingerprint of the text path's rules; a saved tokenizer records it."""
        return self._path.fingerprint

    @property
    def vocab_size(self) -> int:
        """The number of pieces of the vocabulary, without added tokens."""
        return len(self._tokens.vocabulary.encoder)

    def __len__(self) -> int:
        """The number of tokens, including added ones; the argument for a model's ``resize_token_embeddings``."""
        return len(self._tokens)

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(vocab_size={self.vocab_size}, pre_tokenizer={self.pre_tokenizer!r}, "
            f"model_max_length={self.model_max_length}, special_tokens={self.special_tokens_map})"
        )

    def get_vocab(self) -> dict[str, int]:
        """Every token with its id, including added tokens."""
        return {**self._tokens.vocabulary.encoder, **self._tokens.added_ids()}

    # Text to tokens.

    @abstractmethod
    def _pieces(self, text: str) -> list[str]:
        """The tokens of lower-cased text without added tokens."""

    @abstractmethod
    def _ids(self, text: str) -> list[int]:
        """The ids of lower-cased text without added tokens."""

    @abstractmethod
    def _word_pieces(self, word: str) -> tuple[Sequence[int], Sequence[int]]:
        """The ids of a word, and the number of characters that each of them covers."""

    def tokenize(
        self,
        text: str,
        pair: str | None = None,
        add_special_tokens: bool = False,
        split_special_tokens: bool | None = None,
    ) -> list[str]:
        """Split a text into tokens.

        Args:
            text: Any string, including lone surrogates and control characters.
            pair: A second text, whose tokens follow. Default: none.
            add_special_tokens: Whether to add the tokens of the tokenizer's ``task``. Default: false.
            split_special_tokens: Whether to treat special tokens in the text as plain text. Default: the tokenizer's
                setting.
        """
        parts: list[list[str]] = []
        for part in (text,) if pair is None else (text, pair):
            parts.append([])
            for segment in self._segments(part, split_special_tokens):
                parts[-1] += self._pieces(segment.text) if segment.token_id is None else [segment.text]
        if self.task is None or not add_special_tokens:
            return joined(parts, None)
        check_texts(self.task, len(parts))
        return joined(parts, TASK_TOKENS)

    def _segments(self, text: str, split_special_tokens: bool | None = None) -> list[Segment]:
        if not isinstance(text, str):
            raise InputError(f"text must be a str; got {text!r:.80}")
        lowered = self._tokens.lower(text)
        if self.split_special_tokens if split_special_tokens is None else split_special_tokens:
            return [Segment(lowered, 0)] if lowered else []
        return self._tokens.segments(lowered)

    def _text_ids(self, text: str) -> list[int]:
        ids: list[int] = []
        for segment in self._segments(text):
            if segment.token_id is not None:
                ids.append(segment.token_id)
            elif ids:
                ids += self._ids(segment.text)
            else:
                ids = self._ids(segment.text)
        return ids

    def _text_ids_and_offsets(self, text: str) -> tuple[list[int], list[Span]]:
        lowered = self._tokens.lower(text)
        aligned = Aligned.identity(text).map(lower) if len(lowered) != len(text) else Aligned.identity(text)
        ids: list[int] = []
        offsets: list[Span] = []
        for segment in self._segments(text):
            end = segment.start + len(segment.text)
            if segment.token_id is not None:
                ids.append(segment.token_id)
                offsets.append(aligned.span(segment.start, end))
                continue
            part = aligned.cut(segment.start, end)._replace(text=segment.text)
            for word in self._path.aligned_words(part):
                at = 0
                for token_id, length in zip(*self._word_pieces(word.text), strict=True):
                    ids.append(token_id)
                    offsets.append(word.span(at, at + length))
                    at += length
        return ids, offsets

    # OpenAI GPT puts no special tokens around a text; a task does.

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """The number of special tokens that a call adds to a text or a pair: 0 without a ``task``, else 2 or 3."""
        return len(self.build_inputs_with_special_tokens([], [] if pair else None))

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Concatenate the ids of a text or a pair, with the tokens of the ``task``, if there is one."""
        return joined([token_ids_0] if token_ids_1 is None else [token_ids_0, token_ids_1], self._marks())

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """0 for the first text, 1 for the second. A GPT looks these up in its *token* embedding table."""
        parts = [token_ids_0] if token_ids_1 is None else [token_ids_0, token_ids_1]
        types = [[i] * len(part) for i, part in enumerate(parts)]
        return joined(types, None if self.task is None else (0, 0, len(parts) - 1))

    # Tokens to ids, and ids to text.

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of a token, or a list of ids; ``unk_token_id`` for unknown tokens."""
        unknown = self.unk_token_id
        if isinstance(tokens, str):
            found = self._tokens.id_of(tokens)
            return unknown if found is None else found
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def convert_ids_to_tokens(self, ids: Any, skip_special_tokens: bool = False) -> Any:
        """The token of an id, or a list of tokens.

        An unknown id gives ``unk_token`` in the plain class and ``None`` in the fast class, as in transformers.
        """
        ids = to_list(ids)
        if isinstance(ids, int):
            token = self._tokens.token_of(ids)
            return self._unknown_token() if token is None else token
        skipped = set(self.all_special_ids) if skip_special_tokens else set()
        return [self.convert_ids_to_tokens(int(i)) for i in ids if i not in skipped]

    @abstractmethod
    def _unknown_token(self) -> str | None:
        """The token for an unknown id."""

    @abstractmethod
    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Convert tokens to text; the end of a word becomes a space."""

    @abstractmethod
    def _decode(self, ids: list[int], skip_special_tokens: bool, spaces_between_special_tokens: bool) -> str:
        """Decode ids to text, before any clean-up."""

    def decode(
        self,
        token_ids: Any,
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        *,
        readable: bool = False,
        spaces_between_special_tokens: bool = True,
    ) -> str:
        """Decode ids to text in lower case, with spaces between words and punctuation.

        Args:
            token_ids: An id, a list of ids, or a one-dimensional array or tensor.
            skip_special_tokens: Whether to omit special tokens. Default: false.
            clean_up_tokenization_spaces: Whether to remove spaces before some punctuation, as transformers does.
                Default: the tokenizer's setting.
            readable: Whether to restore natural spacing (don't, u.s., quotes, brackets, line breaks). Default: false.
            spaces_between_special_tokens: Whether to put spaces around added tokens (plain class). Default: true.
        """
        ids = to_list(token_ids)
        if isinstance(ids, str) or (isinstance(ids, list) and any(isinstance(i, (str, list)) for i in ids)):
            raise InputError(f"token_ids must be the ids of one text; got {ids!r:.80}. Use batch_decode for several.")
        ids = [ids] if isinstance(ids, int) else [int(i) for i in ids]
        text = self._decode(ids, skip_special_tokens, spaces_between_special_tokens)
        if readable:
            return readable_text(text)
        clean = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        return self.clean_up_tokenization(text) if clean else text

    def batch_decode(self, sequences: Any, skip_special_tokens: bool = False, **settings: Any) -> list[str]:
        """``decode`` for each row of a list, an array or a tensor."""
        return [self.decode(row, skip_special_tokens, **settings) for row in as_list(sequences)]

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """Remove the spaces before some punctuation and contractions, as transformers does.

        >>> TokenizerBase.clean_up_tokenization("i do n't know .")
        "i don't know."
        """
        for artifact in (" .", " ?", " !", " ,"):
            out_string = out_string.replace(artifact, artifact[1:])
        out_string = out_string.replace(" ' ", "'")
        for artifact in (" n't", " 'm", " 's", " 've", " 're"):
            out_string = out_string.replace(artifact, artifact[1:])
        return out_string
