"""ftfy's repair of damaged text, in linear time, and skipped where it changes nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tokenization.text_paths.characters import normalize

MAX_ROUNDS = 64
"""ftfy repeats its fixes until nothing changes. Text that was damaged twice takes two or three rounds; crafted text can
take as many rounds as it has characters. After this many rounds, the text is left as it is."""

MAX_SEGMENT = 1_000_000  # ftfy's own max_decode_length

_TOUCHED = re.compile(r"[^\t\n\x0c\x20-\x25\x27-\x7e\u2014\u2013]")
"""Characters that ftfy may change. It never changes ASCII text without entities and control characters, and none of its
patterns matches a dash between ASCII characters; the tests try every neighbourhood."""

_FIXES_AFTER_ENCODING = (
    "fix_c1_controls",
    "fix_latin_ligatures",
    "fix_character_width",
    "uncurl_quotes",
    "fix_line_breaks",
    "fix_surrogates",
    "remove_terminal_escapes",
    "remove_control_chars",
)


class Repair:
    """``ftfy.fix_text`` with ftfy's default settings, for as many rounds as damaged text needs.

    Raises:
        ImportError: The package ftfy is not installed.
    """

    def __init__(self) -> None:
        import ftfy

        self._ftfy: Any = ftfy

    def __call__(self, text: str) -> str:
        if not may_change(text):
            return text
        return "".join(new for _, new in self.segments(text))

    def segments(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield the parts of a text, original and repaired: lines that may change, and the text between them."""
        first_tag = text.find("<")
        done = 0
        while touched := _TOUCHED.search(text, done):
            start = text.rfind("\n", done, touched.start()) + 1 or done
            if done < start:
                yield text[done:start], text[done:start]
            done = text.find("\n", touched.start()) + 1 or len(text)
            for at in range(start, done, MAX_SEGMENT):
                end = min(done, at + MAX_SEGMENT)
                unescape = first_tag < 0 or first_tag >= end  # from the first tag on, ftfy takes entities for HTML
                yield text[at:end], self._fix(text[at:end], unescape)
        if done < len(text):
            yield text[done:], text[done:]

    def _fix(self, line: str, unescape: bool) -> str:
        fixes = self._ftfy.fixes
        rounds = 0
        while rounds < MAX_ROUNDS:
            before = line
            if unescape:
                line = fixes.unescape_html(line)
            line, used = self._fix_encoding(line, MAX_ROUNDS - rounds)
            for name in _FIXES_AFTER_ENCODING:
                line = getattr(fixes, name)(line)
            line = normalize("NFC", line)
            rounds += used
            if line == before:
                break
        return line

    def _fix_encoding(self, line: str, rounds: int) -> tuple[str, int]:
        """``ftfy.fix_encoding`` in a bounded number of rounds; returns the text and the number of rounds."""
        config = self._ftfy.TextFixerConfig(explain=False)
        for done in range(rounds):
            # Private in name, but the only step of ftfy that can be repeated a bounded number of times.
            fixed = self._ftfy._fix_encoding_one_step_and_explain(line, config).text
            if fixed == line:
                return line, done + 1
            line = fixed
        return line, rounds


def may_change(text: str) -> bool:
    """Whether a text has characters that ftfy could change.

    >>> [may_change(text) for text in ("don't", "yes\\u2014no", "caf\\u00e9", "&amp;", "a\\r\\n")]
    [False, False, True, True, True]
    """
    return _TOUCHED.search(text) is not None


def rules() -> list[object]:
    """The rules of ftfy, for the fingerprint."""
    from ftfy import badness, chardata

    patterns: list[re.Pattern[Any]] = [
        badness.BADNESS_RE,
        chardata.ALTERED_UTF8_RE,
        chardata.LOSSY_UTF8_RE,
        chardata.UTF8_DETECTOR_RE,
        chardata.C1_CONTROL_RE,
        chardata.HTML_ENTITY_RE,
        chardata.SINGLE_QUOTE_RE,
        chardata.DOUBLE_QUOTE_RE,
    ]
    tables: list[dict[Any, Any]] = [
        chardata.LIGATURES,
        chardata.WIDTH_MAP,
        chardata.CONTROL_CHARS,
        chardata.HTML_ENTITIES,
    ]
    return [
        chardata.CHARMAP_ENCODINGS,
        [repr(pattern.pattern) for pattern in patterns],
        [sorted(table.items()) for table in tables],
    ]
