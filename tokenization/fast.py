"""The fast tokenizer: the same ids as the plain one, with the ``tokenizers`` library and a cache."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from gptcore.errors import TokenizerError
from gptcore.spec.tasks import TASK_TOKENS
from tokenization.added import AnyToken
from tokenization.base import TokenizerBase
from tokenization.bpe import MAX_WORD_LENGTH, cut
from tokenization.cache import BoundedCache
from tokenization.text_paths.characters import lower
from tokenization.text_paths.pretokenizer import NEWLINE
from tokenization.tokenizer_json import check_task, read_tokenizer_json
from tokenization.vocabulary import END_OF_WORD

CACHED_CHUNKS = 131_072
CACHED_WORDS = 65_536


class OpenAIGPTTokenizerFast(TokenizerBase):
    """The fast tokenizer.

    The ids of a chunk between white space rarely depend on other chunks, and most chunks are frequent, so they are
    cached in bounded memory. A new chunk goes through the text path in Python, then through byte-pair encoding in the
    ``tokenizers`` library. The few chunks that do depend on their neighbours are processed line by line.

    Args:
        tokenizer_file: Path of a ``tokenizer.json``, instead of ``vocab_file`` and ``merges_file``.

    The other arguments are those of ``TokenizerBase``.
    """

    is_fast = True
    _unpickled = (*TokenizerBase._unpickled, "_bpe", "_backend", "_lengths", "_words", "_chunks")
    vocab_files_names: ClassVar[dict[str, str]] = {
        **TokenizerBase.vocab_files_names,
        "tokenizer_file": "tokenizer.json",
    }

    def __init__(
        self,
        vocab_file: str | Path | None = None,
        merges_file: str | Path | None = None,
        pre_tokenizer: str = "auto",
        unk_token: AnyToken = "<unk>",
        tokenizer_file: str | Path | None = None,
        **options: Any,
    ) -> None:
        if vocab_file is not None and merges_file is not None:
            super().__init__(vocab_file, merges_file, pre_tokenizer, unk_token, **options)
        elif tokenizer_file is not None:
            vocabulary, added, template = read_tokenizer_json(tokenizer_file)
            check_task(tokenizer_file, template, options)
            options = {"added_tokens_decoder": added, **options}
            self._start(vocabulary, pre_tokenizer=pre_tokenizer, unk_token=unk_token, **options)
        else:
            raise TokenizerError("cannot create a tokenizer: pass vocab_file and merges_file, or tokenizer_file.")

    def _tokens_changed(self) -> None:
        self._tokens.refresh()
        self._backend: Tokenizer | None = None
        if "_bpe" not in vars(self):
            self._start_memory()

    def _start_memory(self) -> None:
        """Create everything that depends only on the vocabulary."""
        vocabulary = self._tokens.vocabulary
        unknown = self._tokens.named["unk_token"].content
        encoder = {**vocabulary.encoder, unknown: self._unknown_id()}
        self._bpe = models.BPE(
            vocab=encoder, merges=list(vocabulary.merges), unk_token=unknown, end_of_word_suffix=END_OF_WORD
        )
        self._lengths = [len(piece.removesuffix(END_OF_WORD)) for piece in vocabulary.decoder]
        self._words = BoundedCache(self._word_ids, CACHED_WORDS)
        self._chunks = BoundedCache(self._chunk_ids, CACHED_CHUNKS)

    def _word_ids(self, word: str) -> tuple[int, ...]:
        parts = cut(word) if len(word) > MAX_WORD_LENGTH else (word,)
        return tuple([token.id for part in parts for token in self._bpe.tokenize(part)])

    def _chunk_ids(self, chunk: str) -> tuple[int, ...]:
        words = self._path.split(chunk)
        if words is None:
            raise _NeighboursMatter
        if len(words) == 1:
            return self._word_ids(words[0])
        return tuple(chain.from_iterable(map(self._words.__getitem__, words)))

    def _batch_ids(self, texts: list[str]) -> list[list[int]]:
        """The same as ``_text_ids`` of each text, with a shortcut for ordinary texts."""
        chunks_of, ids_of = self._path.chunks, self._chunks.__getitem__
        occur_in = self._tokens.occur_in
        rows = []
        for text in texts:
            lowered = lower(text)
            chunks = None if occur_in(text) or occur_in(lowered) else chunks_of(lowered)
            try:
                rows.append(self._text_ids(text) if chunks is None else list(chain.from_iterable(map(ids_of, chunks))))
            except _NeighboursMatter:
                rows.append(self._text_ids(text))
        return rows

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = []
        for block in self._path.blocks(text):
            new = self._block_ids(block)
            ids = ids + new if ids else new
        return ids

    def _block_ids(self, block: list[str]) -> list[int]:
        try:
            return list(chain.from_iterable(map(self._chunks.__getitem__, block)))
        except _NeighboursMatter:
            lines = [list(chunks) for _, chunks in groupby(block, NEWLINE.__eq__)]
        ids: list[int] = []
        for line in lines:
            try:
                ids += list(chain.from_iterable(map(self._chunks.__getitem__, line)))
            except _NeighboursMatter:
                ids += chain.from_iterable(map(self._words.__getitem__, self._path.split_line(line)))
        return ids

    def _word_pieces(self, word: str) -> tuple[Sequence[int], Sequence[int]]:
        ids = self._words[word]
        unknown = self._unknown_id()
        return ids, [1 if i == unknown else self._lengths[i] for i in ids]

    def _pieces(self, text: str) -> list[str]:
        # As the class of transformers that has the path: in the basic one, what is unknown shows as unk_token; in the
        # original one it shows as it is.
        if self.pre_tokenizer == "basic":
            return list(map(self._tokens.token_of, self._ids(text)))  # type: ignore[arg-type]  # all ids have tokens
        pieces: list[str] = []
        for word in self._path.words(text):
            at = 0
            for length in self._word_pieces(word)[1]:
                end = at + length
                mark = END_OF_WORD if end == len(word) or end % MAX_WORD_LENGTH == 0 else ""
                pieces.append(word[at:end] + mark)
                at = end
        return pieces

    def _unknown_token(self) -> str | None:
        return None

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        if not tokens:
            return ""
        return "".join(tokens[:-1]).replace(END_OF_WORD, " ") + tokens[-1].replace(END_OF_WORD, "")

    def _decode(self, ids: list[int], skip_special_tokens: bool, spaces_between_special_tokens: bool) -> str:
        tokens = self.convert_ids_to_tokens(ids, skip_special_tokens)
        return self.convert_tokens_to_string([token for token in tokens if token is not None])

    @property
    def backend_tokenizer(self) -> Tokenizer:
        """The vocabulary and the basic path as an object of the ``tokenizers`` library, as saved in ``tokenizer.json``.

        The object is a copy, rebuilt after tokens are added. With a ``task``, its template adds the task's tokens to a
        text or a pair; the template is the same for every task. The library does not support the original path, and
        uses an older Unicode version: characters newer than Unicode 8 can get different ids.
        """
        if self._backend is None:
            backend = Tokenizer(self._bpe)
            backend.normalizer = normalizers.BertNormalizer(lowercase=True)
            backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
            backend.decoder = decoders.BPEDecoder(suffix=END_OF_WORD)
            for _, token in sorted(self._tokens.added.items()):
                (backend.add_special_tokens if token.special else backend.add_tokens)([token])
            if (marks := self._marks()) is not None:
                start, delimiter, extract = TASK_TOKENS
                backend.post_processor = processors.TemplateProcessing(
                    single=[start, "$A", extract],
                    pair=[start, "$A", delimiter, "$B:1", f"{extract}:1"],
                    special_tokens=list(zip(TASK_TOKENS, marks, strict=True)),
                )
            self._backend = backend
        return self._backend

    def _vocabulary_files(self) -> tuple[bytes, bytes]:
        with TemporaryDirectory() as folder:
            vocab_file, merges_file = self._bpe.save(folder)
            return Path(vocab_file).read_bytes(), Path(merges_file).read_bytes()


class _NeighboursMatter(Exception):  # noqa: N818  # no error: a way out of a loop at full speed
    """The words of a chunk depend on its neighbours."""
