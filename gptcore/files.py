"""Text and tables on disk: what a corpus or a labelled dataset is read from, in parts, so that it may exceed memory."""

from __future__ import annotations

import csv
import gzip
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gptcore.errors import DataError

READ_LENGTH = 1_000_000
MAX_LINE = 1 << 24
COMPRESSED: dict[str, Callable[..., IO[str]]] = {".xz": lzma.open, ".gz": gzip.open}
TEXT = (".txt",)
TABLES = (".jsonl", ".csv", ".tsv")


class Row(dict[str, Any]):
    """A row of a table: its cells by column.

    Attributes:
        place: where it is from: ``rows.jsonl, line 3``.
    """

    def __init__(self, cells: Mapping[str, Any], place: str) -> None:
        super().__init__(cells)
        self.place = place


def kind(path: Path) -> str:
    """The suffix of a file without that of its compression: ``.txt`` for ``book.txt.xz``; ``.txt`` for a bare ``.xz``.

    >>> kind(Path("book.txt.xz")), kind(Path("rows.jsonl")), kind(Path("book.xz"))
    ('.txt', '.jsonl', '.txt')
    """
    inner = path.with_suffix("") if path.suffix in COMPRESSED else path
    return inner.suffix.lower() or (".txt" if inner != path else "")


def find(files: str | Path | Sequence[str | Path], kinds: Sequence[str]) -> list[Path]:
    """The files of a dataset; a folder stands for those of the given kinds inside, in the order of their names.

    Raises:
        DataError: something is missing, or there are no files.
    """
    named = [files] if isinstance(files, (str, Path)) else list(files)
    found: list[Path] = []
    for path in map(Path, named):
        if path.is_dir():
            found += sorted(inner for inner in path.rglob("*") if inner.is_file() and kind(inner) in kinds)
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"there is no file or folder {path}")
    if not found:
        raise DataError(f"no files of the kinds {', '.join(kinds)} in {', '.join(map(str, named)) or 'an empty list'}")
    return found


def parts(path: Path) -> Iterator[str]:
    """The text of a file in parts that end with a line, where lines are not too long.

    Raises:
        DataError: it cannot be read, or is not UTF-8; names the line.
    """
    lines_read = 0
    with _open(path, lambda: f"after line {lines_read}") as file:
        while part := file.read(READ_LENGTH):
            part += file.readline(READ_LENGTH)
            lines_read += part.count("\n")
            yield part


def rows(path: Path, columns: Sequence[str], names: Sequence[str] | None = None) -> Iterator[tuple[int, Row]]:
    """The rows of a JSON-lines, CSV or TSV file, with their line numbers.

    Args:
        path: ``.jsonl``, ``.csv`` or ``.tsv``, plain or ``.xz`` or ``.gz``. In TSV a quote is a character as any other.
        columns: that each row must have.
        names: of the columns, for CSV or TSV without a header.

    Raises:
        DataError: it cannot be read, a row is malformed or lacks a column; names the line.
    """
    readers = {".jsonl": _json_rows, ".csv": _csv_rows, ".tsv": _csv_rows}
    if kind(path) not in readers:
        raise DataError(f"{path} is not a table; known are {', '.join(readers)}, plain or with .xz or .gz")
    line = 0
    with _open(path, lambda: f"line {line + 1}") as file:
        for line, row in readers[kind(path)](path, file, names):  # the message above reads it
            missing = [name for name in columns if name not in row]
            if missing:
                has = ", ".join(map(repr, row)) or "none"
                raise DataError(f"{path}, line {line}: no column {', '.join(map(repr, missing))}; it has {has}")
            empty = [name for name in columns if row[name] is None]
            if empty:
                raise DataError(f"{path}, line {line}: {', '.join(empty)} is missing (null)")
            yield line, Row(row, f"{path}, line {line}")


def _json_rows(path: Path, file: IO[str], _: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in enumerate(_lines(path, file), 1):
        if text.strip():
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as cause:
                raise DataError(f"{path}, line {number}: not JSON: {cause}") from cause
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}: a {type(row).__name__}, not an object with named columns")
            yield number, row


def _csv_rows(path: Path, file: IO[str], names: Sequence[str] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    style = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if kind(path) == ".tsv" else {"strict": True}
    reader = csv.reader(_lines(path, file), **style)
    header = list(names) if names else None
    try:
        for cells in reader:
            if header is None:
                header = cells
            elif len(cells) == len(header):
                yield reader.line_num, dict(zip(header, cells, strict=True))
            elif cells:
                number = reader.line_num
                raise DataError(f"{path}, line {number}: {len(cells)} cells, but {len(header)} columns: {header}")
    except csv.Error as cause:
        raise DataError(f"{path}, line {reader.line_num}: {cause}") from cause


def _lines(path: Path, file: IO[str]) -> Iterator[str]:
    """Lines of a bounded length: a hostile file is one line larger than memory."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise DataError(f"{path} has a line of more than {MAX_LINE:,} characters; put one row on each line")
        yield line


@contextmanager
def _open(path: Path, where: Callable[[], str]) -> Iterator[IO[str]]:
    try:
        with COMPRESSED.get(path.suffix, open)(path, "rt", encoding="utf-8") as file:
            yield file
    except UnicodeDecodeError as cause:
        raise DataError(f"{path}, {where()}: not UTF-8: {cause.reason}") from cause
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as cause:
        raise DataError(f"cannot read {path}: {cause}") from cause
