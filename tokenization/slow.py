"""The plain tokenizer: the reference in plain Python."""

from __future__ import annotations

from tokenization.bpe import PlainBPE
from tokenization.decode import join_apart, plain_string
from tokenization.facade import TokenizerBase


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
    _engine = PlainBPE

    def _pieces(self, text: str) -> list[str]:
        return self._tokenizer.part_pieces(text)

    def _unknown_token(self) -> str | None:
        return self.unk_token

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return plain_string(tokens)

    def _decode(self, ids: list[int], skip_special_tokens: bool, spaces_between_special_tokens: bool) -> str:
        special = set(self.all_special_tokens)
        apart = set(self.added_tokens_encoder) - special
        apart |= {
            token for token in self.additional_special_tokens if self.convert_tokens_to_ids(token) >= self.vocab_size
        }
        tokens = self.convert_ids_to_tokens(ids, skip_special_tokens)
        if skip_special_tokens:
            tokens = [token for token in tokens if token not in special]
        return join_apart(tokens, apart, self.convert_tokens_to_string, " " if spaces_between_special_tokens else "")
