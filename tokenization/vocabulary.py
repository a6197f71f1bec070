"""The vocabulary and the merges: loading and checking their files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from gptcore.errors import TokenizerError
from gptcore.storage.tables import decoded

END_OF_WORD = "</w>"
MERGES_HEADER = "#version: 0.2"
MAX_FILE_BYTES = 256 * 1024 * 1024

Merge = tuple[str, str]


@dataclass(frozen=True)
class Vocabulary:
    """Pieces with their ids, and merges in order of priority.

    Args:
        encoder: Piece -> id; the ids are 0, 1, 2, ... without gaps.
        merges: Pairs of pieces whose concatenation is also a piece, without duplicates.
    """

    encoder: dict[str, int]
    merges: tuple[Merge, ...]

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the vocabulary without its cached properties."""
        return Vocabulary, (self.encoder, self.merges)

    @cached_property
    def decoder(self) -> list[str]:
        """Id -> piece."""
        return sorted(self.encoder, key=self.encoder.__getitem__)

    @cached_property
    def ranks(self) -> dict[Merge, int]:
        """Merge -> its rank; lower ranks are merged first."""
        return {merge: rank for rank, merge in enumerate(self.merges)}


class Unknown(NamedTuple):
    """The token for characters that are not in the vocabulary."""

    token: str | None
    token_id: int | None

    def checked_id(self) -> int:
        """The id.

        Raises:
            TokenizerError: The tokenizer has no unknown token.
        """
        if self.token_id is None:
            raise TokenizerError("unk_token must be one of the tokenizer's tokens, such as '<unk>'. Set it.")
        return self.token_id


def read_vocabulary(vocab_file: str | Path, merges_file: str | Path) -> Vocabulary:
    """Read ``vocab.json`` and ``merges.txt`` (or OpenAI's ``encoder_bpe_40000.json`` and ``vocab_40000.bpe``).

    Raises:
        TokenizerError: A file is missing, too large, not UTF-8 or not JSON, ids have gaps or duplicates, a piece or a
            merge occurs twice, or a merge contains an unknown piece. The error names the file and, if its content is
            invalid, the line.
    """
    encoder = _Source(vocab_file).encoder()
    return Vocabulary(encoder, tuple(_Source(merges_file).merges(encoder)))


def vocabulary_bytes(encoder: dict[str, int]) -> bytes:
    """``vocab.json`` as transformers' Python tokenizer writes it: one piece a line, sorted."""
    return (json.dumps(encoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def merges_bytes(merges: Iterable[Merge]) -> bytes:
    """``merges.txt``: a version line, then one pair a line."""
    return "".join([MERGES_HEADER + "\n", *(f"{first} {second}\n" for first, second in merges)]).encode()


def read_text(file: str | Path) -> str:
    """Read a UTF-8 file; line breaks become line feeds, and a byte order mark is removed.

    Raises:
        TokenizerError: The file is missing, too large, or not UTF-8. The error names the file and, if its content is
            invalid, the line.
    """
    return _Source(file).text


def read_json(file: str | Path) -> Any:
    """Read a JSON file.

    Raises:
        TokenizerError: The file is missing, too large, not UTF-8 or not JSON. The error names the file and, if its
            content is invalid, the line.
    """
    return _Source(file).json()


class _Source:
    """A file that is being loaded. Every error names the file and, if its content is invalid, the line."""

    def __init__(self, file: str | Path) -> None:
        self.file = Path(file)
        try:
            size = self.file.stat().st_size
            if size > MAX_FILE_BYTES:
                raise TokenizerError(f"{file} must have at most {MAX_FILE_BYTES:,} bytes; got {size:,}.")
            raw = self.file.read_bytes()
        except OSError as cause:
            raise TokenizerError(f"cannot read {file}: {cause.strerror}") from cause
        self.text = decoded(raw, file, TokenizerError).replace("\r\n", "\n")

    def fail(self, line: int, problem: str) -> NoReturn:
        raise TokenizerError(f"{self.file}, line {line}: {problem}")

    def json(self, **options: Any) -> Any:
        try:
            return json.loads(self.text, **options)
        except json.JSONDecodeError as cause:
            raise TokenizerError(f"{self.file}, line {cause.lineno}: not JSON: {cause.msg}") from cause
        except RecursionError as cause:
            raise TokenizerError(f"{self.file}, line 1: the JSON is nested too deeply.") from cause

    def encoder(self) -> dict[str, int]:
        """The pieces, after all checks."""
        pairs = self.json(object_pairs_hook=_Pairs)
        if not isinstance(pairs, _Pairs):
            self.fail(1, f"a vocabulary must be a JSON object that maps pieces to ids; got {type(pairs).__name__}.")
        encoder: dict[str, int] = {}
        for piece, token_id in pairs:
            if piece in encoder:
                self.fail(self.line_of(piece, last=True), f"the piece {piece!r} occurs a second time.")
            if type(token_id) is not int:
                self.fail(
                    self.line_of(piece), f"the id of {piece!r} must be an integer of at least 0; got {token_id!r}."
                )
            encoder[piece] = token_id
        check_ids(encoder, lambda piece, problem: self.fail(self.line_of(piece), problem))
        return encoder

    def line_of(self, piece: str, last: bool = False) -> int:
        """The line where a JSON object names a piece."""
        spellings = {re.escape(json.dumps(piece, ensure_ascii=ascii)) for ascii in (True, False)}
        places = [match.start() for match in re.finditer(rf"(?:{'|'.join(spellings)})\s*:", self.text)]
        return self.text.count("\n", 0, places[-1 if last else 0]) + 1 if places else 1

    def merges(self, encoder: dict[str, int]) -> Iterable[Merge]:
        lines = self.text.split("\n")
        if lines[-1] == "":
            lines.pop()
        start = 1 if lines and lines[0].startswith("#version") else 0
        return checked_merges(
            encoder, (line.split(" ") for line in lines[start:]), lambda i, problem: self.fail(i + start + 1, problem)
        )


class _Pairs(list[tuple[str, Any]]):
    """The entries of a JSON object, including duplicate keys."""


def check_ids(encoder: dict[str, int], fail: Any) -> None:
    """Check that ids are 0, 1, 2, ...; calls ``fail(piece, problem)`` for the first wrong one."""
    if not encoder:
        fail("", "the vocabulary is empty")
    for expected, (piece, token_id) in enumerate(sorted(encoder.items(), key=lambda item: item[1])):
        if token_id < 0:
            fail(piece, f"the id of {piece!r} must be an integer of at least 0; got {token_id}.")
        if token_id < expected:
            fail(piece, f"the id {token_id} of {piece!r} is taken by another piece.")
        if token_id > expected:
            missing = f"id {expected}" if token_id == expected + 1 else f"ids {expected} to {token_id - 1}"
            fail(piece, f"ids must have no gaps; no piece has {missing}, but {piece!r} has id {token_id}.")


def checked_merges(encoder: dict[str, int], merges: Iterable[list[str]], fail: Any) -> Iterable[Merge]:
    """Yield merges one by one; calls ``fail(index, problem)`` for the first invalid one."""
    seen: dict[Merge, int] = {}
    for i, parts in enumerate(merges):
        if len(parts) != 2 or not all(parts):
            fail(i, f"a merge must be two pieces separated by one space; got {' '.join(parts)!r}.")
        merge = (parts[0], parts[1])
        for piece in (*merge, merge[0] + merge[1]):
            if piece not in encoder:
                fail(i, f"the merge {' '.join(merge)!r} needs {piece!r}, which is not in the vocabulary.")
        if merge in seen:
            fail(i, f"the merge {' '.join(merge)!r} occurs a second time; it is already merge {seen[merge] + 1}.")
        seen[merge] = i
        yield merge
