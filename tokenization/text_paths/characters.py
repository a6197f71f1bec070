"""The classes of characters that BERT's text path uses, by Unicode 14 in every version of Python."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import cache

# First and last code points of the ranges that Unicode 15.0 and 15.1 added. Python 3.11 has Unicode 14, Python 3.13
# has 15.1. Ids must not depend on the version of Python, so these characters count as unassigned in all.
_ADDED_LATER = (
    0xCF3, 0xCF3, 0xECE, 0xECE, 0x2FFC, 0x2FFF, 0x31EF, 0x31EF, 0x10EFD, 0x10EFF, 0x1123F, 0x11241, 0x11B00, 0x11B09,
    0x11F00, 0x11F10, 0x11F12, 0x11F3A, 0x11F3E, 0x11F59, 0x1342F, 0x1342F, 0x13439, 0x13455, 0x1B132, 0x1B132,
    0x1B155, 0x1B155, 0x1D2C0, 0x1D2D3, 0x1DF25, 0x1DF2A, 0x1E030, 0x1E06D, 0x1E08F, 0x1E08F, 0x1E4D0, 0x1E4F9,
    0x1F6DC, 0x1F6DC, 0x1F774, 0x1F776, 0x1F77B, 0x1F77F, 0x1F7D9, 0x1F7D9, 0x1FA75, 0x1FA77, 0x1FA87, 0x1FA88,
    0x1FAAD, 0x1FAAF, 0x1FABB, 0x1FABD, 0x1FABF, 0x1FABF, 0x1FACE, 0x1FACF, 0x1FADA, 0x1FADB, 0x1FAE8, 0x1FAE8,
    0x1FAF7, 0x1FAF8, 0x2B739, 0x2B739, 0x2EBF0, 0x2EE5D, 0x31350, 0x323AF,
)  # fmt: skip

# First and last code points of the blocks whose characters BERT separates by spaces.
_CJK = (
    0x3400, 0x4DBF, 0x4E00, 0x9FFF, 0xF900, 0xFAFF, 0x20000, 0x2A6DF, 0x2A700, 0x2B73F, 0x2B740, 0x2B81F,
    0x2B820, 0x2CEAF, 0x2F800, 0x2FA1F,
)  # fmt: skip

WHITE_SPACE = " \t\n\r\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""The characters that separate words, for the brackets of a regular expression."""

LONG_MARK_RUN = 256


def is_dropped(character: str) -> bool:
    """Whether BERT drops a character: NUL, U+FFFD, and category C (control, format, surrogate, private, unassigned).

    >>> [is_dropped(character) for character in ("a", "\\x00", "\\ufffd", "\\u200b", "\\ud800", "\\t")]
    [False, True, True, True, True, False]
    """
    if character in "\t\n\r":
        return False
    category = unicodedata.category(character)
    return category[0] == "C" or character == "\ufffd" or _within(character, _ADDED_LATER)


def is_punctuation(character: str) -> bool:
    """Whether a character is punctuation: category P, and every ASCII symbol.

    >>> [is_punctuation(character) for character in "a1-$\\u2014\\u20ac"]
    [False, False, True, True, True, False]
    """
    if character.isascii():
        return not character.isalnum() and "!" <= character <= "~"
    return unicodedata.category(character)[0] == "P"


def is_cjk(character: str) -> bool:
    """Whether a character is a CJK ideograph, which is a word of its own in BERT's text path."""
    return character >= "\u3400" and _within(character, _CJK)


def is_mark(character: str) -> bool:
    """Whether a character is an accent or another nonspacing mark (category Mn)."""
    return unicodedata.category(character) == "Mn"


def lower(text: str) -> str:
    """Lower case, character by character. Unlike ``str.lower``, it treats a final capital sigma like any other.

    >>> lower("ΟΔΟΣ")
    'οδοσ'
    """
    return text.replace("\u03a3", "\u03c3").lower()


def normalize(form: str, text: str) -> str:
    """``unicodedata.normalize``, in linear time also for long runs of combining marks."""
    if len(text) >= LONG_MARK_RUN and not text.isascii() and _long_mark_run().search(text):
        text = _long_mark_run().sub(lambda run: _ordered(run.group()), text)
    return unicodedata.normalize(form, text)  # type: ignore[arg-type]  # one of the four forms


def _ordered(marks: str) -> str:
    """A run of marks in canonical order, which normalisation would reach by an insertion sort."""
    single = [decomposed for mark in marks for decomposed in unicodedata.normalize("NFD", mark)]
    return "".join(sorted(single, key=unicodedata.combining))


@cache
def _long_mark_run() -> re.Pattern[str]:
    marks = [chr(code) for code in range(0x300, 0x20000) if unicodedata.combining(chr(code))]
    return re.compile(f"[{''.join(marks)}]{{{LONG_MARK_RUN},}}")


def _within(character: str, ranges: tuple[int, ...]) -> bool:
    code = ord(character)
    i = bisect_right(ranges, code)
    return i % 2 == 1 or (i > 0 and ranges[i - 1] == code)
