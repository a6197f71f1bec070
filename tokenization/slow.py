"""The plain tokenizer: the definition."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from tokenization.base import TokenizerBase
from tokenization.bpe import BytePairEncoding
from tokenization.vocabulary import END_OF_WORD, merges_bytes, vocabulary_bytes

CACHED_WORDS = 65_536


class OpenAIGPTTokenizer(TokenizerBase):
    """Text to ids and back in plain Python: text path, byte-pair encoding, vocabulary.

    Arguments are those of ``TokenizerBase``.

    >>> from pathlib import Path
    >>> from tempfile import mkdtemp
    >>> folder = Path(mkdtemp())
    >>> _ = (folder / "vocab.json").write_text('{"<unk>": 0, "l": 1, "o": 2, "w</w>": 3, "lo": 4, "low</w>": 5}')
    >>> _ = (folder / "merges.txt").write_text("#version: 0.2\\nl o\\nlo w</w>\\n")
    >>> tokenizer = OpenAIGPTTokenizer.from_pretrained(folder, pre_tokenizer="basic")
    >>> tokenizer.tokenize("Low lol"), tokenizer("Low lol").input_ids
    (['low</w>', 'lo', 'l</w>'], [5, 4, 0])
    >>> tokenizer.decode([5, 5])
    'low low'
    """

    is_fast = False
    _unpickled = (*TokenizerBase._unpickled, "_bpe")

    def _tokens_changed(self) -> None:
        self._tokens.refresh()
        # A word is remembered with its pieces: the same ones come again and again, in bounded memory.
        self._bpe = lru_cache(CACHED_WORDS)(BytePairEncoding(self._tokens.vocabulary.ranks))

    def _pieces(self, text: str) -> list[str]:
        return [piece for word in self._path.words(text) for piece in self._bpe(word)]

    def _ids(self, text: str) -> list[int]:
        encoder = self._tokens.vocabulary.encoder
        unknown = self._unknown_id()
        return [encoder.get(piece, unknown) for piece in self._pieces(text)]

    def _word_pieces(self, word: str) -> tuple[Sequence[int], Sequence[int]]:
        pieces = self._bpe(word)
        return self.convert_tokens_to_ids(pieces), [len(piece.removesuffix(END_OF_WORD)) for piece in pieces]

    def _unknown_token(self) -> str | None:
        return self.unk_token

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return "".join(tokens).replace(END_OF_WORD, " ").strip()

    def _decode(self, ids: list[int], skip_special_tokens: bool, spaces_between_special_tokens: bool) -> str:
        special = set(self.all_special_tokens)
        apart = set(self.added_tokens_encoder) - special
        apart |= {
            token for token in self.additional_special_tokens if self.convert_tokens_to_ids(token) >= self.vocab_size
        }
        parts: list[str] = []
        run: list[str] = []
        for token in self.convert_ids_to_tokens(ids, skip_special_tokens):
            if skip_special_tokens and token in special:
                continue
            if token not in apart:
                run.append(token)
                continue
            text = self.convert_tokens_to_string(run)
            parts += [text, token] if text else [token]
            run = []
        if run:
            parts.append(self.convert_tokens_to_string(run))
        return (" " if spaces_between_special_tokens else "").join(parts)

    def _vocabulary_files(self) -> tuple[bytes, bytes]:
        vocabulary = self._tokens.vocabulary
        return vocabulary_bytes(vocabulary.encoder), merges_bytes(vocabulary.merges)
