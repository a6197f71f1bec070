"""Tokens in addition to the vocabulary: special tokens, such as a padding token, and tokens that a user adds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tokenizers import AddedToken

from gptcore.errors import TokenizerError
from tokenization.text_paths.characters import lower
from tokenization.vocabulary import Vocabulary

NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ADDITIONAL = "additional_special_tokens"

AnyToken = str | AddedToken


class Segment(NamedTuple):
    """A part of a text: text to tokenize, or an added token."""

    text: str
    start: int
    token_id: int | None = None


class TokenSet:
    """All tokens of a tokenizer: the pieces of the vocabulary, then the added ones.

    Args:
        vocabulary: the pieces.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.added: dict[int, AddedToken] = {}
        self.named: dict[str, AddedToken] = {}
        self.additional: list[AddedToken] = []
        self._added_ids: dict[str, int] = {}
        self._protected: list[str] = []
        self._contents: tuple[str, ...] = ()
        self._protected_pattern = self._added_pattern = re.compile("$.")

    def __len__(self) -> int:
        return len(self.vocabulary.encoder) + sum(i >= len(self.vocabulary.encoder) for i in self.added)

    def id_of(self, token: str) -> int | None:
        """The id of a token, or ``None`` if it is unknown."""
        found = self._added_ids.get(token)
        return self.vocabulary.encoder.get(token) if found is None else found

    def token_of(self, token_id: int) -> str | None:
        """The token of an id, or ``None`` if the id is unknown."""
        if token_id in self.added:
            return str(self.added[token_id].content)
        decoder = self.vocabulary.decoder
        return decoder[token_id] if 0 <= token_id < len(decoder) else None

    def special(self) -> list[str]:
        """The special tokens without duplicates, in the order of ``NAMED``, the additional ones last."""
        named = [self.named[name] for name in NAMED if name in self.named]
        return list(dict.fromkeys(token.content for token in [*named, *self.additional]))

    def added_ids(self) -> dict[str, int]:
        """The added tokens with their ids, in the order of the ids."""
        return {token.content: token_id for token_id, token in sorted(self.added.items())}

    def add(self, tokens: Iterable[AnyToken], special: bool = False) -> int:
        """Add tokens; returns how many are new to the vocabulary."""
        before = len(self)
        names = set(self.special())
        for token in tokens:
            entry = self._entry(token, special or str(token) in names)
            if not entry.content or (isinstance(token, str) and token in self._added_ids):
                continue
            if not entry.special and entry.normalized:
                entry.content = entry.content.lower()
            known = self.id_of(entry.content)
            self._put(len(self) if known is None else known, entry)
            if entry.special and entry.content not in names:
                self.additional.append(entry)
                names.add(entry.content)
        self.refresh()
        return len(self) - before

    def put_all(self, tokens: Mapping[int, AddedToken]) -> None:
        """Add tokens with the ids that they were saved with.

        Raises:
            TokenizerError: an id is neither that of the same piece nor the next free id.
        """
        for token_id, token in sorted(tokens.items()):
            known = self.id_of(token.content)
            if token_id != (len(self) if known is None else known):
                expected = f"{len(self)}, the next free id" if known is None else f"{known}, as in the vocabulary"
                raise TokenizerError(f"the id of the added token {token.content!r} must be {expected}; got {token_id}.")
            self._put(token_id, token)
        self.refresh()

    def refresh(self) -> None:
        """Rebuild the patterns that split a text; must be called after named tokens have changed."""
        normalized = [token.content for token in self.added.values() if not token.special and token.normalized]
        self._protected = [*self.special(), *normalized]
        self._contents = tuple(dict.fromkeys([*self._protected, *self._added_ids]))
        self._protected_pattern = re.compile(f"({'|'.join(map(re.escape, self._protected)) or '$.'})")
        longest_first = sorted(self._added_ids, key=len, reverse=True)
        self._added_pattern = re.compile("|".join(map(re.escape, longest_first)) or "$.")

    def occur_in(self, text: str) -> bool:
        """Whether a special or added token occurs in a text."""
        for token in self._contents:  # noqa: SIM110  # any() with a generator costs three times as much
            if token in text:
                return True
        return False

    def lower(self, text: str) -> str:
        """Lower-case a text except for special tokens."""
        if not any(token in text for token in self._protected):
            return lower(text)
        parts = self._protected_pattern.split(text)
        return "".join(part if i % 2 else lower(part) for i, part in enumerate(parts))

    def segments(self, text: str) -> list[Segment]:
        """Split lower-cased text at added tokens; the leftmost match has priority, then the longest."""
        if not any(token in text for token in self._added_ids):
            return [Segment(text, 0)] if text else []
        parts: list[Segment] = []
        at = 0
        for match in self._added_pattern.finditer(text):
            parts += [Segment(text[at : match.start()], at)] if at < match.start() else []
            parts.append(Segment(match.group(), match.start(), self._added_ids[match.group()]))
            at = match.end()
        parts += [Segment(text[at:], at)] if at < len(text) else []
        return [part for part in self._stripped(parts) if part.text]

    def _stripped(self, parts: list[Segment]) -> list[Segment]:
        """Apply the flags of added tokens: strip white space next to them, or merge them into a longer word."""
        for i, part in enumerate(parts):
            if part.token_id is None:
                continue
            token = self.added[part.token_id]
            left = parts[i - 1] if i > 0 else None
            right = parts[i + 1] if i + 1 < len(parts) else None
            if token.rstrip and right:
                kept = right.text.lstrip()
                parts[i + 1] = right._replace(text=kept, start=right.start + len(right.text) - len(kept))
            if token.lstrip and left:
                parts[i - 1] = left._replace(text=left.text.rstrip())
            if token.single_word and left and left.text and left.text[-1] != " ":
                parts[i - 1] = Segment(left.text + part.text, left.start)
                parts[i] = Segment("", part.start)
            elif token.single_word and right and right.text and right.text[0] != " ":
                parts[i + 1] = Segment(part.text + parts[i + 1].text, part.start)
                parts[i] = Segment("", part.start)
        return parts

    def _put(self, token_id: int, token: AddedToken) -> None:
        self.added[token_id] = token
        self._added_ids[token.content] = token_id

    @staticmethod
    def _entry(token: AnyToken, special: bool) -> AddedToken:
        if isinstance(token, str):
            return AddedToken(token, normalized=not special, special=special)
        if not isinstance(token, AddedToken):
            raise TokenizerError(f"a token must be a str or an AddedToken; got {type(token).__name__}: {token!r}.")
        return copy_token(token, special=special or token.special)


def copy_token(token: AddedToken, *, special: bool) -> AddedToken:
    """Copy a token, with ``special`` set."""
    return AddedToken(
        token.content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=special,
    )


def special_token(token: AnyToken) -> AddedToken:
    """Convert a token to a special token, which is not normalised and never split."""
    if isinstance(token, str):
        return AddedToken(token, normalized=False, special=True)
    if not isinstance(token, AddedToken):
        raise TokenizerError(f"a special token must be a str or an AddedToken; got {type(token).__name__}: {token!r}.")
    return copy_token(token, special=True)


def special_tokens(tokens: Sequence[AnyToken]) -> list[AddedToken]:
    """Convert several tokens to special tokens."""
    if isinstance(tokens, str) or not isinstance(tokens, Sequence):
        raise TokenizerError(f"{ADDITIONAL} must be a list of tokens; got {tokens!r}.")
    return [special_token(token) for token in tokens]
