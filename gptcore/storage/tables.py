"""Text files and tables, read in parts, so that a corpus may be larger than memory.

All files are UTF-8, with or without a byte order mark. A line ends at a line feed or a carriage return, nowhere else.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from gptcore.errors import DataError, GPTError

READ_LENGTH = 1_000_000
MAX_LINE = 1 << 24
COMPRESSED: dict[str, Callable[..., Any]] = {".xz": lzma.open, ".gz": gzip.open}
TEXT = (".txt",)
"""Suffixes of the text files that a folder is searched for."""
TABLES = (".jsonl", ".csv", ".tsv")
"""Suffixes of the tables that a folder is searched for."""

JSON = ".json"
"""The suffix of a table that must be named: in folders, most such files are not tables."""


class Row(dict[str, Any]):
    """A row of a table: its cells by column.

    Attributes:
        place: The file and line that the row is from: ``rows.jsonl, line 3``.
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


def is_table(path: Path) -> bool:
    """Whether a file holds rows rather than text."""
    return kind(path) in (*TABLES, JSON)


def find(files: str | Path | Sequence[str | Path], kinds: Sequence[str]) -> list[Path]:
    """Find the files of a dataset; a folder is replaced by the files of the given kinds in it, sorted by name.

    Raises:
        DataError: A file or folder does not exist, or there are no files.
    """
    named = [files] if isinstance(files, (str, Path)) else list(files)
    paths: list[Path] = []
    for path in map(Path, named):
        if path.is_dir():
            paths += sorted(inner for inner in path.rglob("*") if inner.is_file() and kind(inner) in kinds)
        elif path.is_file():
            paths.append(path)
        else:
            raise DataError(f"no file or folder named {path}. Check the path.")
    if not paths:
        raise DataError(f"no files of the kinds {', '.join(kinds)} in {', '.join(map(str, named)) or 'an empty list'}")
    return paths


def parts(path: Path) -> Iterator[str]:
    """The text of a file, in parts that end with a line unless lines are very long.

    Raises:
        DataError: The file cannot be read, or is not UTF-8; the error names the line.
    """
    lines_read = 0
    with _open(path, lambda: f"after line {lines_read}") as file:
        while part := file.read(READ_LENGTH):
            part += file.readline(READ_LENGTH)
            lines_read += part.count("\n")
            yield part


def rows(path: Path, columns: Sequence[str], names: Sequence[str] | None = None) -> Iterator[tuple[int, Row]]:
    """The rows of a JSON-lines, JSON, CSV or TSV file, with their line numbers.

    Args:
        path: ``.jsonl``, ``.csv``, ``.tsv`` or ``.json``, plain or ``.xz`` or ``.gz``. In TSV, quotes have no special
            meaning. ``.json`` holds JSON lines or a list of objects; a list is read as a whole, and its rows are
            numbered instead of lines.
        columns: Names of the columns that each row must have.
        names: Names of all columns, for CSV or TSV without a header.

    Raises:
        DataError: The file cannot be read, two columns have the same name, or a row is malformed or lacks a column;
            names the line.
    """
    if not is_table(path):
        raise DataError(f"{path} is not a table. Use {', '.join((*TABLES, JSON))}, plain or with .xz or .gz")
    line = 0
    with _open(path, lambda: f"line {line + 1}") as file:
        if kind(path) in (".csv", ".tsv"):
            unit, numbered = "line", _csv_rows(path, file, columns, names)
        elif kind(path) == JSON and _starts_list(file):
            unit, numbered = "row", _json_list(path, file)
        else:
            unit, numbered = "line", _json_rows(path, file)
        for line, row in numbered:  # the lambda above reads line
            place = f"{path}, {unit} {line}"
            check_columns(place, row, columns)
            empty = [name for name in columns if row[name] is None]
            if empty:
                raise DataError(f"{place}: {', '.join(empty)} is missing (null)")
            yield line, Row(row, place)


def check_columns(place: str, row: Mapping[str, Any], columns: Sequence[str]) -> None:
    """Raise a ``DataError`` that begins with ``place`` unless a row has all ``columns``."""
    missing = [name for name in columns if name not in row]
    if missing:
        names = ", ".join(map(repr, row)) or "none"
        raise DataError(f"{place}: missing column {', '.join(map(repr, missing))}; got {names}.")


def read_table(
    files: str | Path | Sequence[str | Path], columns: Sequence[str], names: Sequence[str] | None = None
) -> list[Row]:
    """Every row of the tables that ``find`` finds.

    Args:
        files: A file, a folder, or several.
        columns: Names of the columns that each row must have.
        names: Names of all columns, for CSV or TSV without a header.

    Raises:
        DataError: As ``find`` and ``rows``, or there are no rows.
    """
    paths = find(files, TABLES)
    table = [row for path in paths for _, row in rows(path, columns, names)]
    if not table:
        raise DataError(f"no rows in {', '.join(map(str, paths))}")
    return table


def _json_rows(path: Path, file: IO[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, text in enumerate(_lines(path, file), 1):
        if text.strip():
            try:
                row = json.loads(text, object_pairs_hook=_object)
            except (json.JSONDecodeError, RecursionError) as cause:
                raise DataError(f"{path}, line {number}: not JSON: {cause}") from cause
            except ValueError as cause:
                raise DataError(f"{path}, line {number}: {cause}") from cause
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}: must be a JSON object; got {type(row).__name__}")
            yield number, row


def _starts_list(file: io.TextIOWrapper) -> bool:
    start: bytes = file.buffer.peek(64)  # type: ignore[attr-defined]
    return start.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"[")


def _json_list(path: Path, file: IO[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        content = json.load(file, object_pairs_hook=_object)
    except (json.JSONDecodeError, RecursionError) as cause:
        raise DataError(f"{path}: not JSON: {cause}") from cause
    except UnicodeDecodeError:
        raise
    except ValueError as cause:
        raise DataError(f"{path}: {cause}") from cause
    for number, row in enumerate(content, 1):
        if not isinstance(row, dict):
            raise DataError(f"{path}, row {number}: must be a JSON object; got {type(row).__name__}")
        yield number, row


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _reject_twins([name for name, _ in pairs])
    return dict(pairs)


def _reject_twins(names: Sequence[str]) -> None:
    """Raise if two columns have the same name: the first would be lost. Columns without a name may repeat."""
    if len(set(names)) < len(names):
        twin = next((name for name in names if name and names.count(name) > 1), None)
        if twin is not None:
            raise ValueError(f"two columns are named {twin!r}. Rename one of them")


def _csv_rows(
    path: Path, file: IO[str], columns: Sequence[str], names: Sequence[str] | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    style = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if kind(path) == ".tsv" else {"strict": True}
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))  # process-wide: csv has no other limit
    reader = csv.reader(_lines(path, file), **style)
    header = list(names) if names else None
    try:
        if header:
            _reject_twins(header)
        for cells in filter(None, reader):
            if header is None:
                header = cells
                _reject_twins(header)
                if header[0] not in columns:
                    _reject_separator(header)
            elif len(cells) == len(header):
                yield reader.line_num, dict(zip(header, cells, strict=True))
            else:
                _reject_separator(cells)
                raise ValueError(f"a row must have {len(header)} cells, one per column ({header}); got {len(cells)}")
    except UnicodeDecodeError:
        raise
    except (csv.Error, ValueError) as cause:
        raise DataError(f"{path}, line {reader.line_num}: {cause}") from cause


def _reject_separator(cells: Sequence[str]) -> None:
    """Raise if a line is a single cell because another separator is used."""
    other = next((separator for separator in ";\t|," if separator in cells[0]), None)
    if len(cells) == 1 and other:
        raise ValueError(f"the cells seem to be separated by {other!r}. Use commas (.csv) or tabs (.tsv)")


def _lines(path: Path, file: IO[str]) -> Iterator[str]:
    """Lines of bounded length: a hostile file may be a single line larger than memory."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise DataError(f"{path}: a line must have at most {MAX_LINE:,} characters. Put one row on each line.")
        yield line


def decoded(content: bytes, name: object, error: type[GPTError] = DataError) -> str:
    """UTF-8 as text, without a byte order mark.

    Args:
        content: All bytes of a file.
        name: The name of the file, for errors.
        error: The type of the error for bytes that are not UTF-8; it names the line.

    >>> decoded(codecs.BOM_UTF8 + b"a", "a.txt")
    'a'
    """
    _reject_utf16(content[:4], name, error)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        content = cause.object
        line = content.count(b"\n", 0, cause.start) + 1
        raise error(
            f"{name}, line {line}: byte 0x{content[cause.start]:02x} is not UTF-8. Save the file as UTF-8"
        ) from cause


def _reject_utf16(start: bytes, name: object, error: type[GPTError] = DataError) -> None:
    """Raise if four bytes look like UTF-16: a byte order mark, or a null byte beside each of two ASCII characters."""
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0\0" in (start[::2], start[1::2]):
        raise error(f"{name} is UTF-16, not UTF-8. Save the file as UTF-8")


@contextmanager
def _open(path: Path, where: Callable[[], str]) -> Iterator[io.TextIOWrapper]:
    try:
        with COMPRESSED.get(path.suffix, open)(path, "rb") as binary:
            _reject_utf16(binary.peek(4)[:4], path)
            yield io.TextIOWrapper(binary, encoding="utf-8-sig")
    except UnicodeDecodeError as cause:
        raise DataError(f"{path}, {where()}: not UTF-8: {cause.reason}. Save the file as UTF-8") from cause
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as cause:
        raise DataError(f"cannot read {path}: {cause}") from cause
