"""The special tokens of a tokenizer as attributes: ``pad_token``, ``pad_token_id`` and others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from tokenizers import AddedToken

from gptcore.errors import TokenizerError
from gptcore.spec.tasks import TASK_TOKENS, TASKS
from tokenization.added import ADDITIONAL, NAMED, AnyToken, TokenSet, special_token, special_tokens
from tokenization.encoding import joined, one_of, to_list
from tokenization.vocabulary import Vocabulary


class NamedToken:
    """The attribute of a special token: its text, or ``None``. Setting it adds nothing to the vocabulary."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, tokenizer: SpecialTokensMixin, owner: type | None = None) -> str | None:
        token = tokenizer._tokens.named.get(self.name)
        return None if token is None else str(token.content)

    def __set__(self, tokenizer: SpecialTokensMixin, token: AnyToken | None) -> None:
        if token is None:
            tokenizer._tokens.named.pop(self.name, None)
        else:
            tokenizer._tokens.named[self.name] = special_token(token)
        tokenizer._tokens_changed()


class NamedTokenId:
    """The attribute of a special token's id, or ``None``."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name.removesuffix("_id")

    def __get__(self, tokenizer: SpecialTokensMixin, owner: type | None = None) -> int | None:
        token = getattr(tokenizer, self.name)
        return None if token is None else tokenizer._id_or_unknown(token)

    def __set__(self, tokenizer: SpecialTokensMixin, token_id: int | None) -> None:
        token = None if token_id is None else tokenizer._tokens.token_of(token_id)
        if token is None and token_id is not None:
            raise TokenizerError(
                f"{self.name}_id must be a token id, 0 to {len(tokenizer._tokens) - 1}; got {token_id}."
            )
        setattr(tokenizer, self.name, token)


class SpecialTokensMixin(ABC):
    """Special and added tokens."""

    _tokens: TokenSet
    _task: str | None = None

    bos_token, bos_token_id = NamedToken(), NamedTokenId()
    eos_token, eos_token_id = NamedToken(), NamedTokenId()
    unk_token, unk_token_id = NamedToken(), NamedTokenId()
    sep_token, sep_token_id = NamedToken(), NamedTokenId()
    pad_token, pad_token_id = NamedToken(), NamedTokenId()
    cls_token, cls_token_id = NamedToken(), NamedTokenId()
    mask_token, mask_token_id = NamedToken(), NamedTokenId()

    def _start_special(self, vocabulary: Vocabulary, options: Mapping[str, Any]) -> None:
        self._tokens = TokenSet(vocabulary)
        for name in NAMED:
            if options.get(name) is not None:
                self._tokens.named[name] = special_token(options[name])
        self._tokens.additional = special_tokens(options.get(ADDITIONAL) or [])
        self._tokens.put_all(options.get("added_tokens_decoder") or {})
        known = self._tokens.added_ids()
        tokens = [*self._tokens.named.values(), *self._tokens.additional]
        self._tokens.add([token for token in tokens if token.content not in known], special=True)
        self._tokens_changed()

    @abstractmethod
    def _tokens_changed(self) -> None:
        """Called after every change of the tokens."""

    @property
    def task(self) -> str | None:
        """The task (a name in ``gptcore.training.TASKS``) whose tokens a call adds to a text or a pair, or ``None``.

        ``gptcore.training.add_task_tokens`` sets it, as ``gptcore train`` does; it is saved with the tokenizer.
        """
        return self._task

    @task.setter
    def task(self, task: str | None) -> None:
        if task is not None:
            one_of("task", task, tuple(TASKS))
            missing = [token for token in TASK_TOKENS if self._tokens.id_of(token) is None]
            if missing:
                raise TokenizerError(
                    f"cannot set task to {task!r}: the tokenizer lacks {', '.join(missing)}. "
                    f"Use gptcore.training.add_task_tokens(tokenizer, {task!r})."
                )
        self._task = task
        self._tokens_changed()

    def _marks(self) -> list[int] | None:
        """The ids of the task tokens that a call adds, or ``None``."""
        return None if self._task is None else [self._tokens.id_of(token) for token in TASK_TOKENS]  # type: ignore[misc]

    def _id_or_unknown(self, token: str) -> int | None:
        found = self._tokens.id_of(token)
        unknown = self._tokens.named.get("unk_token")
        return self._tokens.id_of(unknown.content) if found is None and unknown is not None else found

    def _unknown_id(self) -> int:
        """The id of the unknown token.

        Raises:
            TokenizerError: the tokenizer has no unknown token.
        """
        found = self._id_or_unknown("")
        if found is None:
            raise TokenizerError("unk_token must be one of the tokenizer's tokens, such as '<unk>'. Set it.")
        return found

    @property
    def additional_special_tokens(self) -> list[str]:
        """Special tokens without a name of their own."""
        return [token.content for token in self._tokens.additional]

    @additional_special_tokens.setter
    def additional_special_tokens(self, tokens: Sequence[AnyToken] | None) -> None:
        self._tokens.additional = special_tokens(tokens or [])
        self._tokens_changed()

    @property
    def additional_special_tokens_ids(self) -> list[int | None]:
        """Their ids."""
        return [self._id_or_unknown(token) for token in self.additional_special_tokens]

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]:
        """The special tokens by name."""
        found: dict[str, str | list[str]] = {
            name: self._tokens.named[name].content for name in NAMED if name in self._tokens.named
        }
        return {**found, ADDITIONAL: self.additional_special_tokens} if self._tokens.additional else found

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, each once."""
        return self._tokens.special()

    @property
    def all_special_ids(self) -> list[int | None]:
        """Their ids."""
        return [self._id_or_unknown(token) for token in self.all_special_tokens]

    @property
    def added_tokens_encoder(self) -> dict[str, int]:
        """Added tokens and their ids. A special token that is a piece of the vocabulary is one of them."""
        return self._tokens.added_ids()

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]:
        """Ids and added tokens."""
        return dict(sorted(self._tokens.added.items()))

    def get_added_vocab(self) -> dict[str, int]:
        """Added tokens and their ids."""
        return self._tokens.added_ids()

    def add_tokens(self, new_tokens: AnyToken | Sequence[AnyToken], special_tokens: bool = False) -> int:
        """Add tokens, which are never split.

        Args:
            new_tokens: One or several tokens: a str, or an ``AddedToken`` with flags for matching. Tokens that are not
                special are lower-cased, like the text.
            special_tokens: Whether the tokens are special: never lower-cased, and omitted by ``skip_special_tokens``.
                Default: false.

        Returns:
            The number of new tokens; a model then needs ``resize_token_embeddings(len(tokenizer))``.
        """
        tokens = [new_tokens] if isinstance(new_tokens, (str, AddedToken)) else list(new_tokens)
        added = self._tokens.add(tokens, special=special_tokens)
        self._tokens_changed()
        return added

    def add_special_tokens(
        self, special_tokens_dict: Mapping[str, Any], replace_additional_special_tokens: bool = True
    ) -> int:
        """Set special tokens by name, and add those that are not in the vocabulary yet.

        Args:
            special_tokens_dict: name -> token, for ``bos_token``, ``eos_token``, ``unk_token``, ``sep_token``,
                ``pad_token``, ``cls_token``, ``mask_token``; and ``additional_special_tokens`` -> a list of tokens.
            replace_additional_special_tokens: Whether new additional special tokens replace the old ones, which remain
                added tokens. Default: true.

        Returns:
            The number of new tokens; a model then needs ``resize_token_embeddings(len(tokenizer))``.

        Raises:
            TokenizerError: a name is unknown, or a value is not a token.
        """
        new: list[AddedToken] = []
        for name, value in special_tokens_dict.items():
            if name == ADDITIONAL:
                tokens = special_tokens(value)
                kept = [] if replace_additional_special_tokens and tokens else self._tokens.additional
                known = {token.content for token in kept}
                tokens = [token for token in tokens if token.content not in known]
                self._tokens.additional = [*kept, *tokens]
                new += tokens
            elif name in NAMED:
                self._tokens.named[name] = special_token(value)
                new.append(self._tokens.named[name])
            else:
                raise TokenizerError(f"a special token must be one of {', '.join(NAMED)}, {ADDITIONAL}; got {name!r}.")
        added = self._tokens.add(new, special=True)
        self._tokens_changed()
        return added

    def get_special_tokens_mask(
        self,
        token_ids_0: Sequence[int],
        token_ids_1: Sequence[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 for a special token, 0 for any other; includes the task's tokens that a call would add to these ids."""
        if not already_has_special_tokens:
            parts = [token_ids_0] if token_ids_1 is None else [token_ids_0, token_ids_1]
            return joined([[0] * len(part) for part in parts], None if self._task is None else (1, 1, 1))
        special = set(self.all_special_ids)
        return [int(token_id in special) for token_id in to_list(token_ids_0)]
