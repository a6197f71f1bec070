"""Decoded text with natural spacing: removes the spaces that the tokenizer added."""

from __future__ import annotations

import re

_CLOSING = re.compile(r"[.,;:?!%)\]}\u2019\u201d\u2026]+")
_OPENING = re.compile(r"[(\[{\u2018\u201c]+")
_CONTRACTION = re.compile(r"n['\u2019]t|['\u2019](?:s|m|d|t|re|ve|ll)")
_CONTRACTED = frozenset(("s", "m", "d", "t", "re", "ve", "ll", "clock"))
_ELIDED = frozenset(("o", "d", "l"))
_WORD = re.compile(r"[^\W_]+")
_CURRENCY = frozenset("$\u00a3\u20ac#")
_JOINING = frozenset(("-", "--", "\u2010", "\u2011", "\u2013", "\u2014", "/", "@", "_"))
_TWO_IN_ONE = frozenset((("can", "not"), ("gon", "na"), ("got", "ta")))
"""Pairs of words that spaCy's rules split although they are written as one."""


def readable_text(text: str) -> str:
    """Undo the spacing of either text path. Capital letters and accents cannot be restored.

    >>> print(readable_text('" do n\\'t , " said mr . o\\'neil ( u . s . ) . \\n it \\' s $ 3 . 50 - or 1 , 000 !'))
    "don't," said mr. o'neil (u.s.).
    it's $3.50-or 1,000!
    """
    return "\n".join(_readable_line(line.split()) for line in text.split("\n"))


def _readable_line(words: list[str]) -> str:
    parts: list[str] = []
    open_quotes: set[str] = set()
    quotes_left = {mark: words.count(mark) for mark in ('"', "'")}
    glued = True
    for i, word in enumerate(words):
        before = words[i - 1] if i else ""
        after = words[i + 1] if i + 1 < len(words) else ""
        left, right = _glue(word, before, after, words[i - 2] if i > 1 else "")
        if word in quotes_left and not (left and right):
            quotes_left[word] -= 1
            if word in open_quotes:
                open_quotes.discard(word)
                left = True
            elif word == "'" and quotes_left[word] % 2 == 0 and before.endswith("s"):
                left = True  # a plural possessive
            else:
                open_quotes.add(word)
                right = True
        elif word in quotes_left:
            quotes_left[word] -= 1
        parts += [word] if glued or left else [" ", word]
        glued = right
    return "".join(parts)


def _glue(word: str, before: str, after: str, before_that: str) -> tuple[bool, bool]:
    """Whether a word joins the word before it, and the word after it."""
    if word == "'" and (before in _ELIDED or (after in _CONTRACTED and _WORD.fullmatch(before))):
        return True, True
    if word in (".", ",", ":") and before.isdigit() and after[:1].isdigit():
        return True, word != "," or (len(after) == 3 and len(before) <= 3)
    if word == "." and len(before) == 1 and before.isalpha():
        abbreviation = len(after) == 1 and after.isalpha() and (before_that == "." or after not in "ai")
        return True, abbreviation
    if _CLOSING.fullmatch(word) or _CONTRACTION.fullmatch(word):
        return True, False
    if _OPENING.fullmatch(word) or (word in _CURRENCY and after[:1].isdigit()):
        return False, True
    if word in _JOINING:
        sides = [side == word or _WORD.match(edge) for side, edge in ((before, before[-1:]), (after, after[:1]))]
        return all(sides), all(sides)
    return (before, word) in _TWO_IN_ONE, False
