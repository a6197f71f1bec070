"""The tokens of a tokenizer: pieces of the vocabulary, special tokens, and tokens that a user adds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tokenizers import AddedToken

from gptcore.errors import TokenizerError
from gptcore.spec.tasks import TASK_TOKENS, TASKS
from tokenization.inputs import one_of
from tokenization.matching import Matcher
from tokenization.vocabulary import Unknown, Vocabulary

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ADDITIONAL = "additional_special_tokens"

AnyToken = str | AddedToken


class TokenSet:
    """All tokens of a tokenizer: the pieces of the vocabulary, then the added ones.

    Args:
        vocabulary: The pieces.
        named: Special tokens by the names in ``NAMED``.
        additional: Special tokens without a name of their own.
        added: Added tokens by their saved ids.

    Attributes:
        matcher: Finds the added tokens in a text; a new object after every change.

    Raises:
        TokenizerError: A token is neither a str nor an ``AddedToken``, or its saved id is neither the id of the same
            piece nor the next free id.
    """

    matcher: Matcher

    def __init__(
        self,
        vocabulary: Vocabulary,
        named: Mapping[str, AnyToken],
        additional: Sequence[AnyToken] = (),
        added: Mapping[int, AddedToken] | None = None,
    ) -> None:
        self.vocabulary = vocabulary
        self.named = {name: special_token(token) for name, token in named.items()}
        self.additional = special_tokens(additional)
        self.added: dict[int, AddedToken] = {}
        self._added_ids: dict[str, int] = {}
        self._task: str | None = None
        for token_id, token in sorted((added or {}).items()):
            self._put_saved(token_id, token)
        special = [*self.named.values(), *self.additional]
        self.add([token for token in special if token.content not in self._added_ids], special=True)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "matcher"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._changed()

    def __len__(self) -> int:
        return len(self.vocabulary.encoder) + sum(i >= len(self.vocabulary.encoder) for i in self.added)

    # Ids and tokens.

    def id_of(self, token: str) -> int | None:
        """The id of a token, or ``None`` if it is unknown."""
        token_id = self._added_ids.get(token)
        return self.vocabulary.encoder.get(token) if token_id is None else token_id

    def token_of(self, token_id: int) -> str | None:
        """The token of an id, or ``None`` if the id is unknown."""
        if token_id in self.added:
            return str(self.added[token_id].content)
        decoder = self.vocabulary.decoder
        return decoder[token_id] if 0 <= token_id < len(decoder) else None

    @property
    def unknown(self) -> Unknown:
        """The unknown token."""
        token = self.named.get("unk_token")
        return Unknown(None, None) if token is None else Unknown(token.content, self.id_of(token.content))

    def id_or_unknown(self, token: str) -> int | None:
        """The id of a token, or of the unknown token."""
        token_id = self.id_of(token)
        return self.unknown.token_id if token_id is None else token_id

    def special(self) -> list[str]:
        """The special tokens without duplicates, in the order of ``NAMED``, the additional ones last."""
        named = [self.named[name] for name in NAMED if name in self.named]
        return list(dict.fromkeys(token.content for token in [*named, *self.additional]))

    def added_ids(self) -> dict[str, int]:
        """The added tokens with their ids, in the order of the ids."""
        return {token.content: token_id for token_id, token in sorted(self.added.items())}

    # The task, whose tokens a call adds to a text.

    @property
    def task(self) -> str | None:
        """The task, or ``None``."""
        return self._task

    @task.setter
    def task(self, task: str | None) -> None:
        if task is not None:
            one_of("task", task, tuple(TASKS))
            missing = [token for token in TASK_TOKENS if self.id_of(token) is None]
            if missing:
                raise TokenizerError(
                    f"cannot set task to {task!r}: the tokenizer lacks {', '.join(missing)}. "
                    f"Use gptcore.training.add_task_tokens(tokenizer, {task!r})."
                )
        self._task = task
        self._changed()

    def marks(self) -> list[int] | None:
        """The ids of the task's tokens (start, delimiter, extract), or ``None`` without a task."""
        if self._task is None:
            return None
        return [token_id for token in TASK_TOKENS if (token_id := self.id_of(token)) is not None]

    # Changes.

    def set_named(self, name: str, token: AnyToken | None) -> None:
        """Set or remove the special token with a name; adds nothing to the vocabulary."""
        if token is None:
            self.named.pop(name, None)
        else:
            self.named[name] = special_token(token)
        self._changed()

    def set_additional(self, tokens: Sequence[AnyToken]) -> None:
        """Replace the special tokens without a name; adds nothing to the vocabulary."""
        self.additional = special_tokens(tokens)
        self._changed()

    def add(self, tokens: Iterable[AnyToken], *, special: bool = False) -> int:
        """Add tokens; returns how many are new to the vocabulary."""
        before = len(self)
        names = set(self.special())
        for token in tokens:
            entry = _entry(token, special or str(token) in names)
            if not entry.content or (isinstance(token, str) and token in self._added_ids):
                continue
            if not entry.special and entry.normalized:
                entry.content = entry.content.lower()
            token_id = self.id_of(entry.content)
            self._put(len(self) if token_id is None else token_id, entry)
            if entry.special and entry.content not in names:
                self.additional.append(entry)
                names.add(entry.content)
        self._changed()
        return len(self) - before

    def add_special(self, tokens: Mapping[str, AnyToken | Sequence[AnyToken]], *, replace: bool = True) -> int:
        """Set special tokens by name, and add them; returns how many are new to the vocabulary.

        Args:
            tokens: A name in ``NAMED`` -> a token; ``ADDITIONAL`` -> a list of tokens.
            replace: Whether additional tokens replace the old ones, which remain added tokens. Default: true.

        Raises:
            TokenizerError: A name is unknown, or a value is not a token.
        """
        new: list[AddedToken] = []
        for name, value in tokens.items():
            if name == ADDITIONAL:
                additional = special_tokens(value)
                previous = [] if replace and additional else self.additional
                contents = {token.content for token in previous}
                additional = [token for token in additional if token.content not in contents]
                self.additional = [*previous, *additional]
                new += additional
            elif name in NAMED:
                self.named[name] = special_token(value)
                new.append(self.named[name])
            else:
                raise TokenizerError(
                    f"the name of a special token must be one of {', '.join(NAMED)}, {ADDITIONAL}; got {name!r}."
                )
        return self.add(new, special=True)

    def _put(self, token_id: int, token: AddedToken) -> None:
        self.added[token_id] = token
        self._added_ids[token.content] = token_id

    def _put_saved(self, token_id: int, token: AddedToken) -> None:
        """Add a token with its saved id."""
        expected = self.id_of(token.content)
        if token_id != (len(self) if expected is None else expected):
            allowed = f"{len(self)}, the next free id" if expected is None else f"{expected}, as in the vocabulary"
            raise TokenizerError(f"the id of the added token {token.content!r} must be {allowed}; got {token_id}.")
        self._put(token_id, token)

    def _changed(self) -> None:
        self.matcher = Matcher(self.special(), self.added)


def special_token(token: object) -> AddedToken:
    """Convert a token to a special token; a str becomes one that is not normalised."""
    if isinstance(token, str):
        return AddedToken(token, normalized=False, special=True)
    if not isinstance(token, AddedToken):
        raise TokenizerError(f"a special token must be a str or an AddedToken; got {type(token).__name__}: {token!r}.")
    return _copied(token, special=True)


def special_tokens(tokens: object) -> list[AddedToken]:
    """Convert several tokens to special tokens."""
    if isinstance(tokens, str) or not isinstance(tokens, Sequence):
        raise TokenizerError(f"{ADDITIONAL} must be a list of tokens; got {tokens!r}.")
    return [special_token(token) for token in tokens]


def _entry(token: object, special: bool) -> AddedToken:
    if isinstance(token, str):
        return AddedToken(token, normalized=not special, special=special)
    if not isinstance(token, AddedToken):
        raise TokenizerError(f"a token must be a str or an AddedToken; got {type(token).__name__}: {token!r}.")
    return _copied(token, special=special or token.special)


def _copied(token: AddedToken, *, special: bool) -> AddedToken:
    """Copy a token, with ``special`` set."""
    return AddedToken(
        token.content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=special,
    )
