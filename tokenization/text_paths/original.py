"""The original text path: ftfy, standard punctuation, spaCy's English rules."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator

from tokenization.text_paths.alignment import Aligned, join
from tokenization.text_paths.characters import lower
from tokenization.text_paths.english import EnglishRules, boundaries
from tokenization.text_paths.pretokenizer import BLOCK_LENGTH, NEWLINE, PreTokenizer, cut_at_white_space
from tokenization.text_paths.repair import Repair, may_change
from tokenization.text_paths.repair import rules as repair_rules

_TO_ASCII = {"\u2014": "-", "\u2013": "-", "\u2015": "-", "\u2026": "...", "\u00b4": "'"}
_ALONE = '-~!";?+,)(\\/*[]}{|_'
_RUN = re.compile(f"([{re.escape(_ALONE)}])\\1")
_PARTS = re.compile(f"([{re.escape(_ALONE)}])\\1*|[^{re.escape(_ALONE)}]+")
_CHUNK_OR_NEWLINE = re.compile(r"\S+|\n")


class OriginalPreTokenizer(PreTokenizer):
    """The text path of the published model, as transformers implements it.

    It repairs mojibake, entities, ligatures and curly quotes line by line, converts dashes, the ellipsis and the acute
    to ASCII, and separates runs of punctuation. spaCy's English rules split the rest. Line breaks become one word.

    Raises:
        ImportError: The package spacy or ftfy is not installed.

    >>> path = OriginalPreTokenizer()
    >>> list(path.words("don't stop\\u2014e.g. o'neil, u.s.\\n\\n(\\u00a31 caf\\u00e9)"))
    ['do', "n't", 'stop', '-', 'e.g.', "o'neil", ',', 'u.s', '.', '\\n', '(', '£', '1', 'café', ')']
    """

    name = "original"

    def __init__(self) -> None:
        self._repair = Repair()
        self._english = EnglishRules()
        rules = json.dumps([self._english.rules(), repair_rules()], sort_keys=True)
        self.fingerprint = hashlib.sha256(rules.encode()).hexdigest()[:16]

    def blocks(self, text: str) -> Iterator[list[str]]:
        text = self._repair(text)
        newline_due = any_chunk = False
        for part in cut_at_white_space(text):
            block: list[str] = []
            for i, line in enumerate(standardize(part).split("\n")):
                newline_due = newline_due or (i > 0 and any_chunk)
                chunks = line.split()
                if chunks:
                    if newline_due:
                        block.append(NEWLINE)
                    block += chunks
                    newline_due, any_chunk = False, True
            yield block

    def chunks(self, text: str) -> list[str] | None:
        if len(text) > BLOCK_LENGTH or "\n" in text or may_change(text):
            return None
        return standardize(text).split()

    def split(self, chunk: str) -> list[str] | None:
        if chunk == NEWLINE:
            return [NEWLINE]
        words = self._english.split_alone(chunk)
        return None if words is None else [word.lower() for word in words]

    def split_line(self, chunks: list[str]) -> list[str]:
        return [word.lower() for word in self._english.split_line(chunks)]

    def aligned_words(self, text: Aligned) -> Iterator[Aligned]:
        line: list[Aligned] = []
        gap: Aligned | None = None
        for chunk in self._aligned_chunks(text):
            if chunk.text != NEWLINE:
                if gap and line:
                    yield from self._aligned_line(line)
                    yield gap
                    line = []
                line.append(chunk)
                gap = None
            elif gap is None:
                gap = chunk
            else:
                gap = Aligned(NEWLINE, gap.starts, chunk.ends)
        yield from self._aligned_line(line)

    def _aligned_chunks(self, text: Aligned) -> Iterator[Aligned]:
        """Repaired chunks and line breaks."""
        start = 0
        for old, new in self._repair.segments(text.text):
            line = text.cut(start, start + len(old))
            start += len(old)
            yield from _pieces(line) if old == new else _rewritten(line, new)

    def _aligned_line(self, chunks: list[Aligned]) -> Iterator[Aligned]:
        if not chunks:
            return
        parts = [part for chunk in chunks for part in _aligned_parts(chunk)]
        whole = join(parts)
        for start, end in boundaries(self._english.split_line([part.text for part in parts])):
            yield whole.cut(start, end).map(lower)


def standardize(text: str) -> str:
    """Convert dashes, ellipsis and acute to ASCII, and put spaces around runs of one punctuation mark.

    >>> standardize("wait\u2026what?!--no.").split()
    ['wait...what', '?', '!', '--', 'no.']
    """
    if not text.isascii():
        for character, ascii_text in _TO_ASCII.items():
            text = text.replace(character, ascii_text)
    if _RUN.search(text):
        return _PARTS.sub(r" \g<0> ", text)
    for mark in _ALONE:  # no runs: much faster
        if mark in text:
            text = text.replace(mark, f" {mark} ")
    return text


def _aligned_parts(chunk: Aligned) -> Iterator[Aligned]:
    return chunk.map(lambda character: _TO_ASCII.get(character, character)).find(_PARTS)


def _pieces(line: Aligned) -> Iterator[Aligned]:
    return line.find(_CHUNK_OR_NEWLINE)


def _rewritten(old: Aligned, new: str) -> Iterator[Aligned]:
    """The chunks and line breaks of a repaired line, aligned chunk by chunk where their numbers agree."""
    before = list(_pieces(old))
    after = _CHUNK_OR_NEWLINE.findall(new)
    shorter = min(len(before), len(after))
    head = next((i for i in range(shorter) if before[i].text != after[i]), shorter)
    tail = next((i for i in range(shorter - head) if before[-1 - i].text != after[-1 - i]), shorter - head)
    yield from before[:head]
    inner_before, inner_after = before[head : len(before) - tail], after[head : len(after) - tail]
    if len(inner_before) == len(inner_after):
        for chunk, text in zip(inner_before, inner_after, strict=True):
            yield chunk.rewritten(text)
    elif inner_after:
        start, end = old.span(0, len(old.text))
        if inner_before:
            start, end = inner_before[0].starts[0], inner_before[-1].ends[-1]
        for text in inner_after:
            yield Aligned(text, [start] * len(text), [end] * len(text))
    yield from before[len(before) - tail :]
