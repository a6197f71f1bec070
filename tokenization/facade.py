"""The tokenizers under the names of transformers: one class that delegates everything, for both engines."""

from __future__ import annotations

import copy
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, Unpack

from tokenizers import AddedToken

from gptcore.errors import TokenizerError
from gptcore.settings import passes_on
from gptcore.spec.tasks import TASK_TOKENS, check_texts
from gptcore.storage import hub
from gptcore.storage.atomic import make_folder
from tokenization import decode, encode, folders
from tokenization.batch_encoding import BatchEncoding
from tokenization.bpe import Engine
from tokenization.call_settings import SIDES, CallSettings
from tokenization.folders import TokenizerOptions, TokenizerSettings
from tokenization.inputs import as_list, batch_items, is_batch, one_of, paired, plain_text, to_list
from tokenization.padding import columns_of, pad_columns
from tokenization.readable import readable_text
from tokenization.special_attributes import NamedToken, NamedTokenId
from tokenization.task_tokens import joined
from tokenization.text_paths.modes import pre_tokenizer as make_pre_tokenizer
from tokenization.tokenizer import Tokenizer
from tokenization.tokens import ADDITIONAL, NAMED, AnyToken, TokenSet
from tokenization.vocabulary import Vocabulary, read_vocabulary

logger = logging.getLogger("tokenization")

Text = str | Sequence[str] | Sequence[int]


class TokenizerBase(ABC):
    """A tokenizer. Names, arguments and results are those of transformers 4.57.

    The work is done by ``Tokenizer`` (text to ids), ``encode`` (rows), ``decode`` (ids to text), ``TokenSet`` (added
    tokens) and ``folders`` (files). The two public classes define only what differs between them.

    Args:
        vocab_file: Path of ``vocab.json``, the pieces with their ids.
        merges_file: Path of ``merges.txt``, the merges in order.
        pre_tokenizer: The text path. ``"original"`` is the path that the published model was trained on (ftfy and
            spaCy's English rules), ``"basic"`` is BERT's and gives different ids. ``"auto"`` (default) resolves to
            original if spaCy and ftfy are installed and have the published model's rules (spaCy 3.8, ftfy 6.3), else
            to basic; it logs its choice once.
        unk_token: Token for characters that are not in the vocabulary. Default: ``"<unk>"``.
        model_max_length: Maximum number of tokens that the model accepts; the default of ``max_length``. Default: no
            limit.
        padding_side, truncation_side: Side at which to pad and truncate, ``"right"`` (default) or ``"left"``.
        clean_up_tokenization_spaces: Whether ``decode`` removes spaces before some punctuation. Default: false.
        split_special_tokens: Whether special and other added tokens in a text are treated as plain text. Default:
            false.
        rules: Fingerprint that the rules of the text path must have, such as the attribute ``rules`` of another
            tokenizer; an error is raised if it differs. Default: any known rules are accepted.
        task: Task whose tokens a call adds to a text; see the attribute ``task``. Default: none.
        options: Special tokens by name (``pad_token="<pad>"``, ``additional_special_tokens=[...]``), and
            ``added_tokens_decoder``. Other options have no effect, but are saved.

    Raises:
        TokenizerError: A file or a setting is invalid, or the text path needs a package that is not installed.
    """

    is_fast: ClassVar[bool]
    name_or_path = ""
    model_input_names: ClassVar[list[str]] = ["input_ids", "attention_mask"]
    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "vocab.json", "merges_file": "merges.txt"}
    do_lower_case: ClassVar[bool] = True
    pad_token_type_id: ClassVar[int] = 0
    _engine: ClassVar[type[Engine]]

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
        path = make_pre_tokenizer(pre_tokenizer, rules)
        try:
            self.model_max_length = int(1e30) if model_max_length is None else int(model_max_length)
        except (TypeError, ValueError, OverflowError) as cause:
            raise TokenizerError(f"model_max_length must be a number of tokens; got {model_max_length!r}.") from cause
        self.padding_side = one_of("padding_side", padding_side, SIDES)
        self.truncation_side = one_of("truncation_side", truncation_side, SIDES)
        self.clean_up_tokenization_spaces = bool(clean_up_tokenization_spaces)
        self.split_special_tokens = bool(split_special_tokens)
        self._warned_too_long = False
        named = {name: token for name in NAMED if (token := {"unk_token": unk_token, **options}.get(name)) is not None}
        self._tokens = TokenSet(vocabulary, named, options.get(ADDITIONAL) or (), options.get("added_tokens_decoder"))
        self._tokenizer = Tokenizer(path, self._tokens, self._engine)
        if task is not None:
            self.task = task
        self.init_kwargs = {
            name: value for name, value in options.items() if name not in (*NAMED, ADDITIONAL, "added_tokens_decoder")
        }

    def __copy__(self) -> Self:
        """A copy with tokens and a task of its own."""
        return copy.deepcopy(self)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_warned_too_long"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._warned_too_long = False

    # Sizes and names.

    @property
    def pre_tokenizer(self) -> str:
        """The text path: ``"basic"`` or ``"original"``."""
        return self._tokenizer.path.name

    @property
    def rules(self) -> str:
        """The fingerprint of the text path's rules; a saved tokenizer records it."""
        return self._tokenizer.path.fingerprint

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

    bos_token, bos_token_id = NamedToken(), NamedTokenId()
    eos_token, eos_token_id = NamedToken(), NamedTokenId()
    unk_token, unk_token_id = NamedToken(), NamedTokenId()
    sep_token, sep_token_id = NamedToken(), NamedTokenId()
    pad_token, pad_token_id = NamedToken(), NamedTokenId()
    cls_token, cls_token_id = NamedToken(), NamedTokenId()
    mask_token, mask_token_id = NamedToken(), NamedTokenId()

    # Text to tokens.

    @abstractmethod
    def _pieces(self, text: str) -> list[str]:
        """The tokens of lower-cased text without added tokens."""

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
            split_special_tokens: Whether to treat special and other added tokens in the text as plain text. Default:
                the tokenizer's setting.
        """
        split = self.split_special_tokens if split_special_tokens is None else split_special_tokens
        parts: list[list[str]] = []
        for part in (text,) if pair is None else (text, pair):
            parts.append([])
            for segment in self._tokenizer.segments(part, split_special_tokens=split):
                parts[-1] += self._pieces(segment.text) if segment.token_id is None else [segment.text]
        if self.task is None or not add_special_tokens:
            return joined(parts, None)
        check_texts(self.task, len(parts))
        return joined(parts, TASK_TOKENS)

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

        The tokenizer of a fine-tuned model has a ``task``. A call then adds the task's tokens to a text
        (``_start_ text _classify_``) or a pair (``_start_ text _delimiter_ text_pair _classify_``), as in training.
        ``truncation=True`` then also cuts as in training: a text to ``max_length - 2`` tokens, each text of a pair to
        ``max_length // 2 - 2``. An input of similarity or multiple choice has several rows, so a call raises an
        error: use ``gptcore.pipeline``.

        Args:
            text: A text, or several texts: a list, an array, a column of a table, another sequence, or an iterator.
            text_pair: The same number of second texts, each encoded after its ``text``. Default: none.
            is_split_into_words: Whether each text is a list of words; ``word_ids()`` of the result then gives the word
                of each token. Default: false.
            settings: The other settings:

                - ``add_special_tokens``: Whether to add the tokens of the ``task``. Default: true.
                - ``padding``: ``True`` or ``"longest"`` pads to the longest row, ``"max_length"`` to ``max_length``.
                  Default: ``False``.
                - ``truncation``: ``True`` or ``"longest_first"``, ``"only_first"``, ``"only_second"`` or ``False``.
                  Default: ``True`` if ``max_length`` is passed without ``padding``, else ``False``.
                - ``max_length``: Maximum number of tokens of a row with ``truncation``, and the length of the rows with
                  ``padding="max_length"``. Default: ``model_max_length``.
                - ``pad_to_multiple_of``: Rounds the length of padded rows up to a multiple of it. Default: no rounding.
                - ``padding_side``: Side at which to pad. Default: the tokenizer's.
                - ``return_tensors``: ``"np"``, ``"pt"``, ``"tf"`` or ``"jax"``. Default: lists.
                - ``return_attention_mask`` (default ``True``), ``return_token_type_ids``,
                  ``return_special_tokens_mask``, ``return_offsets_mapping`` and ``return_length`` (all ``False`` by
                  default): Whether the result has these keys. The length does not include padding.
                - ``return_overflowing_tokens``: Whether to return the tokens that truncation removes as more rows,
                  as in transformers' fast class; neighbouring rows share ``stride`` (default 0) tokens. Default: false.
                - ``verbose``: Whether to warn once of a row longer than ``model_max_length``. Default: true.

        Returns:
            ``input_ids``, ``attention_mask`` and the requested keys. ``offset_mapping`` has the start and end of each
            token in the passed text, (0, 0) for padding and for the tokens of the task. With
            ``return_overflowing_tokens``, the result is always a batch, and ``overflow_to_sample_mapping`` gives the
            text that each row comes from.

        Raises:
            InputError: An input is not a text, does not fit the task, or cannot be truncated as requested, or the two
                lists of a batch of pairs have different lengths.
            TokenizerError: A setting is unknown or invalid, or padding is requested without a padding token.
        """
        texts, pairs = as_list(text), as_list(text_pair)
        if not is_batch(texts, is_split_into_words):
            return self.encode_plus(texts, pairs, is_split_into_words=is_split_into_words, **settings)
        if pairs is None:
            return self.batch_encode_plus(texts, is_split_into_words=is_split_into_words, **settings)
        return self._encode_batch(paired(texts, pairs), is_split_into_words, settings)

    def encode_plus(
        self, text: Text, text_pair: Text | None = None, *, is_split_into_words: bool = False, **settings: Any
    ) -> BatchEncoding:
        """Encode one text or pair; settings are those of a call."""
        call = self._call_settings(is_split_into_words=is_split_into_words, **settings)
        texts = [plain_text(text, "text")]
        if text_pair is not None:
            texts.append(plain_text(text_pair, "text_pair"))
        return encode.encode_texts(self._tokenizer, texts, call, self._warn_too_long)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Sequence[Any], *, is_split_into_words: bool = False, **settings: Any
    ) -> BatchEncoding:
        """Encode several texts, or pairs (tuples or lists of two); settings are those of a call."""
        items = batch_items(batch_text_or_text_pairs, is_split_into_words)
        return self._encode_batch(items, is_split_into_words, settings)

    def _encode_batch(self, items: list[Any], is_split_into_words: bool, settings: dict[str, Any]) -> BatchEncoding:
        """Encode what ``batch_items`` or ``paired`` returns."""
        call = self._call_settings(is_split_into_words=is_split_into_words, **settings)
        return encode.encode_batch(self._tokenizer, items, call, self._warn_too_long)

    def _call_settings(self, **settings: Any) -> CallSettings:
        return CallSettings(self, self._tokens.marks(), **settings)

    def _warn_too_long(self, length: int) -> None:
        if not self._warned_too_long:
            self._warned_too_long = True
            logger.warning(
                "A text has %d tokens, but the model accepts at most %d. Pass truncation=True.",
                length,
                self.model_max_length,
            )

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
        """Pad encoded inputs: one row (a dict of lists), a batch (a dict of lists of lists), or a list of rows.

        The other arguments are those of a call, but ``padding`` is true by default.

        Raises:
            InputError: ``input_ids`` are missing.
            TokenizerError: A setting is invalid, or the tokenizer has no padding token.
        """
        columns = columns_of(encoded_inputs)
        call = self._call_settings(
            padding=padding,
            truncation=False,
            max_length=max_length,
            pad_to_multiple_of=pad_to_multiple_of,
            padding_side=padding_side,
            return_attention_mask=return_attention_mask,
            return_tensors=return_tensors,
        )
        return pad_columns(columns, call)

    # OpenAI GPT puts no special tokens around a text; a task does.

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """The number of special tokens that a call adds to a text (2) or a pair (3); 0 without a ``task``."""
        return len(self.build_inputs_with_special_tokens([], [] if pair else None))

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """Concatenate the ids of a text or a pair, with the tokens of the ``task``, if there is one."""
        return joined([token_ids_0] if token_ids_1 is None else [token_ids_0, token_ids_1], self._tokens.marks())

    def create_token_type_ids_from_sequences(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """The token type of each id of a row: 0 for the first text, 1 for the second.

        The models look it up in the *token* embedding table, as in transformers.
        """
        parts = [token_ids_0] if token_ids_1 is None else [token_ids_0, token_ids_1]
        types = [[i] * len(part) for i, part in enumerate(parts)]
        return joined(types, None if self.task is None else (0, 0, len(parts) - 1))

    # Tokens to ids, and ids to text.

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of a token, or a list of ids; ``unk_token_id`` for unknown tokens."""
        unknown = self.unk_token_id
        if isinstance(tokens, str):
            token_id = self._tokens.id_of(tokens)
            return unknown if token_id is None else token_id
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
            readable: Whether to restore natural spacing (don't, u.s., quotes, brackets, line breaks);
                ``clean_up_tokenization_spaces`` then has no effect. Default: false.
            spaces_between_special_tokens: Whether to put spaces around added tokens (plain class). Default: true.
        """
        ids = decode.ids_of_text(token_ids)
        text = self._decode(ids, skip_special_tokens, spaces_between_special_tokens)
        if readable:
            return readable_text(text)
        clean = (
            self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else clean_up_tokenization_spaces
        )
        return self.clean_up_tokenization(text) if clean else text

    def batch_decode(self, sequences: Any, skip_special_tokens: bool = False, **settings: Any) -> list[str]:
        """Decode each row of a list, an array or a tensor; the settings are those of ``decode``."""
        return [self.decode(row, skip_special_tokens, **settings) for row in as_list(sequences)]

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """Remove the spaces before some punctuation and contractions, as transformers does.

        >>> TokenizerBase.clean_up_tokenization("i do n't know .")
        "i don't know."
        """
        return decode.clean_up(out_string)

    # Special and added tokens.

    @property
    def task(self) -> str | None:
        """The task (a name in ``gptcore.training.TASKS``) whose tokens a call adds to a text or a pair, or ``None``.

        ``gptcore.training.add_task_tokens`` sets it, as ``gptcore train`` does; it is saved with the tokenizer.
        """
        return self._tokens.task

    @task.setter
    def task(self, task: str | None) -> None:
        self._tokens.task = task

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens without a name of their own."""
        return [token.content for token in self._tokens.additional]

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Sequence[AnyToken] | None) -> None:
        self._tokens.set_additional(tokens or [])

    @property
    def additional_special_tokens_ids(self) -> list[int | None]:
        """The ids of ``additional_special_tokens``."""
        return [self._tokens.id_or_unknown(token) for token in self.additional_special_tokens]

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """The special tokens by name."""
        named: dict[str, str | list[str]] = {
            name: self._tokens.named[name].content for name in NAMED if name in self._tokens.named
        }
        return {**named, ADDITIONAL: self.additional_special_tokens} if self._tokens.additional else named

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, each once."""
        return self._tokens.special()

    @property
    def all_special_ids(self) -> list[int | None]:
        """The ids of ``all_special_tokens``."""
        return [self._tokens.id_or_unknown(token) for token in self.all_special_tokens]

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Added tokens with their ids, including special tokens that are pieces of the vocabulary."""
        return self._tokens.added_ids()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Added tokens by id."""
        return dict(sorted(self._tokens.added.items()))

    def get_added_vocab(self) -> dict[str, int]:
        """Added tokens with their ids, as in ``added_tokens_encoder``."""
        return self._tokens.added_ids()

    def add_tokens(self, new_tokens: AnyToken | Sequence[AnyToken], special_tokens: bool = False) -> int:
        """Add tokens, which are not split unless ``split_special_tokens`` is set.

        Args:
            new_tokens: One or several tokens: a str, or an ``AddedToken`` with flags for matching. Tokens that are not
                special are lower-cased, like the text.
            special_tokens: Whether the tokens are special: never lower-cased, and omitted by ``skip_special_tokens``.
                Default: false.

        Returns:
            The number of new tokens; a model then needs ``resize_token_embeddings(len(tokenizer))``.
        """
        tokens = [new_tokens] if isinstance(new_tokens, (str, AddedToken)) else list(new_tokens)
        return self._tokens.add(tokens, special=special_tokens)

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_additional_special_tokens: bool = True
    ) -> int:
        """Set special tokens by name, and add those that are not in the vocabulary yet.

        Args:
            special_tokens_dict: Name -> token, for ``bos_token``, ``eos_token``, ``unk_token``, ``sep_token``,
                ``pad_token``, ``cls_token``, ``mask_token``; and ``additional_special_tokens`` -> a list of tokens.
            replace_additional_special_tokens: Whether new additional special tokens replace the old ones, which remain
                added tokens. Default: true.

        Returns:
            The number of new tokens; a model then needs ``resize_token_embeddings(len(tokenizer))``.

        Raises:
            TokenizerError: A name is unknown, or a value is not a token.
        """
        return self._tokens.add_special(special_tokens_dict, replace=replace_additional_special_tokens)

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Return 1 for each special token of a row, and 0 for each other token.

        Args:
            token_ids_0: The ids of a text.
            token_ids_1: The ids of a second text. Default: none.
            already_has_special_tokens: Whether ``token_ids_0`` is a whole row. Default: false; the row then is the text
                or pair with the tokens that the ``task`` adds, and only these get 1.
        """
        if not already_has_special_tokens:
            parts = [token_ids_0] if token_ids_1 is None else [token_ids_0, token_ids_1]
            return joined([[0] * len(part) for part in parts], None if self.task is None else (1, 1, 1))
        special = set(self.all_special_ids)
        return [int(token_id in special) for token_id in to_list(token_ids_0)]

    # Files.

    @classmethod
    @passes_on(hub.resolve, TokenizerSettings)
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Unpack[TokenizerOptions]) -> Self:
        """Load a tokenizer from a folder, or from a repository on the hub.

        Args:
            pretrained_model_name_or_path: A folder with ``vocab.json`` and ``merges.txt``, or with OpenAI's
                ``encoder_bpe_40000.json`` and ``vocab_40000.bpe``, or with ``tokenizer.json``; or ``owner/name``.
            options: ``revision``, ``cache_dir``, ``local_files_only`` and ``token`` for the hub, and arguments of the
                class, which override the settings of the folder.

        Raises:
            TokenizerError: A file is missing or invalid, or the saved text path is not available.
            StorageError: There is no such folder, and it cannot be downloaded from the hub.
        """
        vocabulary, settings = folders.load(pretrained_model_name_or_path, options)
        tokenizer = cls.from_vocabulary(vocabulary, **settings)
        tokenizer.name_or_path = str(pretrained_model_name_or_path)
        return tokenizer

    @classmethod
    def from_vocabulary(cls, vocabulary: Vocabulary, **options: Any) -> Self:
        """Create a tokenizer from a vocabulary in memory; the other arguments are those of the class."""
        tokenizer = cls.__new__(cls)
        tokenizer._start(vocabulary, **options)
        return tokenizer

    def save_pretrained(self, save_directory: str | Path, *, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Save the tokenizer to a folder.

        ``tokenizer_config.json`` holds the text path and its rules. ``tokenizer.json``, which the fast class writes,
        always holds the basic path, like the published file, because its format cannot express the original path. The
        ``task`` is saved in both files: in ``tokenizer.json``, as a template that adds its tokens.

        Args:
            save_directory: The folder; created if missing.
            filename_prefix: Prefix of the names of the files, followed by a hyphen. Default: none.

        Returns:
            The paths of the files.

        Raises:
            StorageError: A file cannot be written; that file is unchanged.
        """
        folder = Path(save_directory)
        make_folder(folder)
        vocabulary_files = self.save_vocabulary(folder, filename_prefix)
        return (*vocabulary_files, *folders.save_settings(self, folder, self._tokenizer.backend, filename_prefix))

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        commit_message: str | None = None,
        revision: str | None = None,
    ) -> str:
        """Save the tokenizer and upload it to a repository on the hub in one commit.

        Other files of the repository are unchanged.

        Args:
            repo_id: ``owner/name``, or ``name`` for one of your own repositories; created if missing.
            token: Access token with write access. Default: the stored one.
            private: Whether a newly created repository is private. Default: the owner's default.
            commit_message: The commit message. Default: ``Upload tokenizer``.
            revision: A branch, created if missing. Default: the main branch.

        Returns:
            The URL of the commit.

        Raises:
            ConfigError: The token is invalid.
            StorageError: The repository id is invalid, or the hub cannot be reached or refused the request. No file of
                the repository is changed, but a new repository or branch may remain. If the response to the commit was
                lost, pushing again is safe.
        """
        with hub.temporary_folder() as folder:
            return hub.push(
                {Path(name).name: Path(name) for name in self.save_pretrained(folder)},
                repo_id,
                commit_message=commit_message or "Upload tokenizer",
                token=token,
                private=private,
                revision=revision,
            )

    def save_vocabulary(self, save_directory: str | Path, filename_prefix: str | None = None) -> tuple[str, str]:
        """Write ``vocab.json`` and ``merges.txt``, byte for byte like the class of transformers with this name.

        Args:
            save_directory: An existing folder.
            filename_prefix: Prefix of both names, followed by a hyphen. Default: none.

        Returns:
            The paths of both files.

        Raises:
            TokenizerError: The folder does not exist.
            StorageError: A file cannot be written; that file is unchanged.
        """
        return folders.save_vocabulary(save_directory, self._tokenizer.bpe.files(), filename_prefix)
