"""Data of language modelling: a corpus as a sequence of token ids on disk, and its blocks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.errors import DataError
from gptcore.spec.inputs import IGNORED_LABEL
from gptcore.storage import tables as files_module
from gptcore.storage.atomic import atomic_write, make_folder
from gptcore.training.fingerprints import fingerprint, tokenizer_fingerprint

INFO_NAME = "tokens.json"
LINE_BREAK = "\n</w>"
PARTS_AT_A_TIME = 16

Example = dict[str, NDArray[Any]]
Progress = Callable[[int, int], None]
"""A function that is called with the number of bytes read so far and the total."""


def texts(path: Path, column: str = "text") -> Iterator[str]:
    """Yield the text of a file in parts of bounded length: lines of a text file, or one column of a table."""
    if files_module.is_table(path):
        for _, row in files_module.rows(path, [column]):
            if not isinstance(row[column], str):
                raise DataError(f"{row.place}: column {column!r} must hold a text; got {row[column]!r:.80}.")
            yield row[column]
    else:
        yield from files_module.parts(path)


def tokenize_corpus(
    files: str | Path | Sequence[str | Path],
    tokenizer: Any,
    folder: str | Path,
    *,
    column: str = "text",
    progress: Progress | None = None,
) -> TokenFile:
    """Write the ids of a corpus into ``folder``, unless it already holds those of the same files and tokenizer.

    With ``pre_tokenizer="original"``, files and rows are joined by the vocabulary's line-break token, if it has one.
    Reading and writing are streamed, so a corpus may be larger than memory.

    Args:
        files: Text files or tables (``.jsonl``, ``.csv``, ``.tsv``), plain, ``.xz`` or ``.gz``, or folders of them.
            A ``.json`` table is read only if its own path is passed.
        tokenizer: A tokenizer of ``tokenization``.
        folder: Folder for ``tokens-*.bin`` (``uint16``, or ``uint32`` for more than 65,536 ids) and ``tokens.json``.
            Several processes may write it at the same time.
        column: Name of the text column of tables. Default: ``text``.
        progress: Function that is called while files are read. Default: none.

    Raises:
        DataError: There are no files, a file cannot be read, or the files hold only white space.
    """
    paths = files_module.find(files, (*files_module.TEXT, *files_module.TABLES))
    folder = Path(folder)
    source = source_fingerprint(paths, tokenizer, column)
    if (folder / INFO_NAME).is_file() and (kept := TokenFile(folder)).source == source:
        return kept
    make_folder(folder)
    dtype = np.dtype(np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32)
    count = size = 0
    with atomic_write(ids_path(folder, source)) as out:
        for ids, length in _ids(paths, tokenizer, column, progress):
            out.write(np.asarray(ids, dtype).tobytes())
            count, size = count + len(ids), size + length
        if not count:
            raise DataError(
                f"the corpus must have at least one token; got none in {len(paths)} files (the first is {paths[0]})."
            )
    info = {"count": count, "bytes": size, "dtype": dtype.name, "vocab_size": len(tokenizer), "source": source}
    with atomic_write(folder / INFO_NAME) as out:
        out.write(json.dumps(info, indent=2).encode() + b"\n")
    for path in {*folder.glob("tokens-*.bin")} - {ids_path(folder, source)}:
        path.unlink(missing_ok=True)  # ids of an earlier corpus
    return TokenFile(folder)


def ids_path(folder: Path, source: str) -> Path:
    """The file of the ids, with a different name for each source, so that a reader never gets those of another."""
    return folder / f"tokens-{source[:16]}.bin"


def source_fingerprint(paths: Sequence[Path], tokenizer: Any, column: str) -> str:
    """A fingerprint of the source of ids: names, sizes and times of the files, the column and the tokenizer."""
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return fingerprint([stats, column, type(tokenizer).__name__, tokenizer_fingerprint(tokenizer)])


def _ids(
    paths: Sequence[Path], tokenizer: Any, column: str, progress: Progress | None
) -> Iterator[tuple[list[int], int]]:
    """Yield ids, and the number of bytes of text that they encode."""
    line_break = tokenizer.get_vocab().get(LINE_BREAK)
    between = [] if line_break is None or tokenizer.pre_tokenizer != "original" else [line_break]
    size, done, first = sum(path.stat().st_size for path in paths), 0, True
    for path in paths:
        for batch in _batched(texts(path, column)):
            encoded = tokenizer(batch, add_special_tokens=False, verbose=False)
            for text, ids in zip(batch, encoded.input_ids, strict=True):
                yield between + ids if ids and not first else ids, len(text.encode("utf-8", "surrogatepass"))
                first = first and not ids
        done += path.stat().st_size
        if progress:
            progress(done, size)


def _batched(pieces: Iterator[str]) -> Iterator[list[str]]:
    """Group texts, because a tokenizer call costs more than a short text."""
    batch: list[str] = []
    length = 0
    for piece in pieces:
        batch.append(piece)
        length += len(piece)
        if length > files_module.READ_LENGTH:
            yield batch
            batch, length = [], 0
    if batch:
        yield batch


class TokenFile:
    """The ids of a corpus on disk, mapped into memory.

    Args:
        folder: The folder that ``tokenize_corpus`` wrote.

    Attributes:
        ids: The ids, (N,), ``uint16`` or ``uint32``.
        bytes_per_token: Mean number of UTF-8 bytes of text per token.

    Raises:
        DataError: The folder has no corpus, or the corpus is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        try:
            info = json.loads((folder / INFO_NAME).read_text(encoding="utf-8"))
            self.source, self.vocab_size = str(info["source"]), int(info["vocab_size"])
            if info["dtype"] not in ("uint16", "uint32"):
                raise DataError(f"{folder / INFO_NAME}: dtype must be uint16 or uint32; got {info['dtype']!r}.")
            self.bytes_per_token = int(info["bytes"]) / int(info["count"])
            self.ids: NDArray[Any] = np.memmap(ids_path(folder, self.source), dtype=info["dtype"], mode="r")
        except DataError:
            raise
        except (OSError, ValueError, KeyError, TypeError, ZeroDivisionError) as cause:
            raise DataError(f"cannot read a corpus from {folder}: {cause}. Run tokenize_corpus again.") from cause
        if len(self.ids) != info["count"]:
            raise DataError(f"{folder} must have {info['count']} ids; got {len(self.ids)}. Run tokenize_corpus again.")

    def __len__(self) -> int:
        return len(self.ids)


class Blocks:
    """A sequence of ids, cut into blocks: a random-access source for ``Batches``, PyTorch's loaders and grain.

    The last block holds the remaining ids, padded with id 0 and label -100.

    Args:
        ids: Integers, (N,), such as ``TokenFile(folder).ids``.
        length: Number of ids per block, usually ``n_positions``.
        stride: Distance between the starts of two blocks, in [1, length]. Default: ``length``. With a smaller stride,
            blocks overlap: ids that the previous block also has get the label -100. So each id is a label once and,
            after the first block, has at least ``length - stride`` ids before it.

    Raises:
        DataError: A block or the corpus has fewer than 2 tokens, or ``stride`` is not in [1, length].

    >>> blocks = Blocks(np.arange(1, 8), 4)
    >>> len(blocks), blocks[1]["input_ids"].tolist(), blocks[1]["labels"].tolist()
    (2, [5, 6, 7, 0], [5, 6, 7, -100])
    >>> blocks = Blocks(np.arange(1, 8), 4, stride=2)
    >>> len(blocks), blocks[1]["input_ids"].tolist(), blocks[1]["labels"].tolist()
    (3, [3, 4, 5, 6], [-100, -100, 5, 6])
    """

    def __init__(self, ids: NDArray[Any], length: int, stride: int | None = None) -> None:
        if length < 2:
            raise DataError(f"a block must have at least 2 tokens, one of them to predict; got {length}.")
        if len(ids) < 2:
            raise DataError(f"a corpus must have at least 2 tokens, one of them to predict; got {len(ids)}.")
        self.ids, self.length, self.stride = ids, length, length if stride is None else stride
        if not 1 <= self.stride <= length:
            raise DataError(f"stride must be 1 to {length}, the length of a block; got {stride}.")
        self.shared = length - self.stride

    def __len__(self) -> int:
        whole, left = divmod(max(len(self.ids) - self.shared, 0), self.stride)
        return max(whole + (left > (self.shared == 0)), 1)  # a single token without a preceding one predicts nothing

    def __getitem__(self, index: int) -> Example:
        if not 0 <= index < len(self):
            raise IndexError(f"block {index} of {len(self)}")
        start = index * self.stride
        part = np.asarray(self.ids[start : start + self.length], np.int32)
        missing = (0, self.length - len(part))
        labels = np.pad(part, missing, constant_values=IGNORED_LABEL)
        if index:
            labels[: self.shared] = IGNORED_LABEL
        return {"input_ids": np.pad(part, missing), "labels": labels}
