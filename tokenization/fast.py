"""The fast tokenizer: the same ids as the plain one, with the ``tokenizers`` library and a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from tokenizers import Tokenizer

from gptcore.errors import TokenizerError
from tokenization.bpe import FastBPE
from tokenization.decode import fast_string
from tokenization.facade import TokenizerBase
from tokenization.tokenizer_json import check_task, read_tokenizer_json
from tokenization.tokens import AnyToken


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
    _engine = FastBPE
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

    def _pieces(self, text: str) -> list[str]:
        # As in the class of transformers that has this path: on the basic path, an unknown piece is shown as unk_token;
        # on the original path, it is shown unchanged.
        if self.pre_tokenizer == "basic":
            return [token for token in map(self._tokens.token_of, self._tokenizer.part_ids(text)) if token is not None]
        return self._tokenizer.part_pieces(text)

    def _unknown_token(self) -> str | None:
        return None

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return fast_string(tokens)

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
        backend = self._tokenizer.backend
        assert backend is not None
        return backend
