"""The attributes ``pad_token``, ``pad_token_id`` and others of a tokenizer."""

from __future__ import annotations

from typing import Protocol

from gptcore.errors import TokenizerError
from tokenization.tokens import AnyToken, TokenSet


class HasTokens(Protocol):
    """A tokenizer with its tokens."""

    _tokens: TokenSet


class NamedToken:
    """The attribute of a special token: its text, or ``None``. Setting it adds nothing to the vocabulary."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, tokenizer: HasTokens, owner: type | None = None) -> str | None:
        token = tokenizer._tokens.named.get(self.name)
        return None if token is None else str(token.content)

    def __set__(self, tokenizer: HasTokens, token: AnyToken | None) -> None:
        tokenizer._tokens.set_named(self.name, token)


class NamedTokenId:
    """The attribute of a special token's id, or ``None``."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    def __get__(self, tokenizer: HasTokens, owner: type | None = None) -> int | None:
        token = getattr(tokenizer, self.name)
        return None if token is None else tokenizer._tokens.id_or_unknown(token)

    def __set__(self, tokenizer: HasTokens, token_id: int | None) -> None:
        token = None if token_id is None else tokenizer._tokens.token_of(token_id)
        if token is None and token_id is not None:
            raise TokenizerError(
                f"{self.name}_id must be a token id, 0 to {len(tokenizer._tokens) - 1}; got {token_id}."
            )
        setattr(tokenizer, self.name, token)
