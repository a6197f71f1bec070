"""A corpus as one row of token ids on disk, and its blocks: what language modelling trains on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.errors import DataError
from gptcore.spec.inputs import IGNORED_LABEL
from gptcore.storage import files as files_module
from gptcore.storage.atomic import atomic_write
from gptcore.training.fingerprints import fingerprint, tokenizer_fingerprint

INFO_NAME = "tokens.json"
LINE_BREAK = "\n</w>"
PARTS_AT_A_TIME = 16

Example = dict[str, NDArray[Any]]
Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes there are."""


def texts(path: Path, column: str = "text") -> Iterator[str]:
    """What a file holds, in parts of bounded length: a text file by its lines, a table by the rows of one column."""
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
    """Write the ids of a corpus into ``folder``, or find them there if they are of the same files and tokenizer.

    Files follow each other, as lines do: where the vocabulary has a line break, it stands between. Reading and writing
    are streamed, so a corpus may be larger than memory.

    Args:
        files: text files, or ``.jsonl``, ``.csv``, ``.tsv`` tables; plain, ``.xz`` or ``.gz``; or folders of them. A
            ``.json`` table must be named.
        tokenizer: of ``tokenization``.
        folder: where ``tokens-*.bin`` (``uint16``, or ``uint32`` for more than 65,536 ids) and ``tokens.json`` go.
            Several processes may write there at once.
        column: of the text, in tables.
        progress: is told while files are read.

    Raises:
        DataError: no files, a file that cannot be read, or nothing but white space in all of them.
    """
    paths = files_module.find(files, (*files_module.TEXT, *files_module.TABLES))
    folder = Path(folder)
    source = source_fingerprint(paths, tokenizer, column)
    if (folder / INFO_NAME).is_file() and (kept := TokenFile(folder)).source == source:
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    dtype = np.dtype(np.uint16 if len(tokenizer) <= 1 << 16 else np.uint32)
    count = size = 0
    with atomic_write(ids_path(folder, source)) as out:
        for ids, length in _ids(paths, tokenizer, column, progress):
            out.write(np.asarray(ids, dtype).tobytes())
            count, size = count + len(ids), size + length
        if not count:
            raise DataError(
                f"the corpus must have at least one token; got none in {len(paths)} files, from {paths[0]}."
            )
    info = {"count": count, "bytes": size, "dtype": dtype.name, "vocab_size": len(tokenizer), "source": source}
    with atomic_write(folder / INFO_NAME) as out:
        out.write(json.dumps(info, indent=2).encode() + b"\n")
    for path in {*folder.glob("tokens-*.bin")} - {ids_path(folder, source)}:
        path.unlink(missing_ok=True)  # of what the folder held before
    return TokenFile(folder)


def ids_path(folder: Path, source: str) -> Path:
    """Where the ids are: under a name of their own for each source, so that no reader finds those of another."""
    return folder / f"tokens-{source[:16]}.bin"


def source_fingerprint(paths: Sequence[Path], tokenizer: Any, column: str) -> str:
    """What the ids were made from: names, sizes and times of the files, the column and the tokenizer."""
    stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return fingerprint([stats, column, type(tokenizer).__name__, tokenizer_fingerprint(tokenizer)])


def _ids(
    paths: Sequence[Path], tokenizer: Any, column: str, progress: Progress | None
) -> Iterator[tuple[list[int], int]]:
    """Ids, and how many bytes of text they stand for."""
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
    """Some pieces at a time: a call of the tokenizer costs more than a short row."""
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
        folder: of ``tokenize_corpus``.

    Attributes:
        ids: (N,) ``uint16`` or ``uint32``.
        bytes_per_token: of the text before it was tokenized, in UTF-8.

    Raises:
        DataError: the folder has no corpus, or it is damaged.
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
    """A row of ids, cut into blocks: a random-access source for ``Batches``, PyTorch's loaders and grain alike.

    The last block holds what is left over, with id 0 and label -100 behind it.

    Args:
        ids: (N,) integers, such as ``TokenFile(folder).ids``.
        length: of a block, usually ``n_positions``.
        stride: from the start of a block to that of the next; default: ``length``. A smaller one lets blocks overlap:
            what a block shares with the one before it has the label -100, so each id is a label once, behind at
            least ``length - stride`` others.

    Raises:
        DataError: a block, or all of them, would have nothing to predict, or ``stride`` is not in [1, length].

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
        return max(
            whole + (left > (self.shared == 0)), 1
        )  # where nothing is before it, a single token predicts nothing

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
