"""``gptcore tokenize``: show the tokens of a text."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from gptcore.cli.settings import PRE_TOKENIZER, SHIPPED
from gptcore.errors import DataError
from gptcore.release import DEFAULT_MODEL
from gptcore.storage.tables import decoded
from tokenization import OpenAIGPTTokenizerFast, TokenizerOptions

BACKGROUNDS = ("blue", "magenta", "green", "cyan")


class Format(StrEnum):
    """How tokens are shown."""

    TABLE = "table"
    JSON = "json"
    COLOUR = "colour"
    IDS = "ids"


def tokenize_command(
    file: Annotated[str, typer.Argument(help="A UTF-8 text file; - is standard input.")] = "-",
    text: Annotated[str | None, typer.Option(help="A text, instead of a file.")] = None,
    tokenizer: Annotated[
        str, typer.Option(help="A folder, or owner/name on the hub.", show_default=SHIPPED)
    ] = DEFAULT_MODEL,
    pre_tokenizer: Annotated[str | None, typer.Option(help=f"{PRE_TOKENIZER} Default: as saved.")] = None,
    show: Annotated[Format, typer.Option("--format", help="How to show the tokens.")] = Format.TABLE,
) -> None:
    """Show the ids and pieces of a text, and where in the text they come from."""
    content = _read(file) if text is None else text
    options: TokenizerOptions = {} if pre_tokenizer is None else {"pre_tokenizer": pre_tokenizer}
    loaded = OpenAIGPTTokenizerFast.from_pretrained(tokenizer, **options)
    encoded = loaded(content, add_special_tokens=False, return_offsets_mapping=show is not Format.IDS, verbose=False)
    if show is Format.IDS:
        print(*encoded.input_ids)
        return
    pieces = loaded.convert_ids_to_tokens(encoded.input_ids)
    if show is Format.JSON:
        result = {
            "pre_tokenizer": loaded.pre_tokenizer,
            "ids": encoded.input_ids,
            "pieces": pieces,
            "offsets": encoded.offset_mapping,
        }
        print(json.dumps(result))
    elif show is Format.TABLE:
        Console(highlight=False).print(_table(content, encoded, pieces))
    else:
        Console(highlight=False).print(_coloured(content, encoded.offset_mapping), soft_wrap=True)


def _read(file: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as cause:
        raise DataError(f"cannot read {file}: {cause.strerror}") from cause
    return decoded(raw, "standard input" if file == "-" else file)


def _table(content: str, encoded: Any, pieces: list[str]) -> Table:
    table = Table()
    for heading in ("", "id"):
        table.add_column(heading, justify="right")
    table.add_column("piece", no_wrap=True)
    table.add_column("offsets", justify="right")
    table.add_column("text", no_wrap=True)
    for i, (token_id, piece, (start, end)) in enumerate(
        zip(encoded.input_ids, pieces, encoded.offset_mapping, strict=True)
    ):
        table.add_row(str(i), str(token_id), _shown(piece), f"{start}-{end}", _shown(content[start:end]))
    return table


def _shown(text: str) -> Text:
    """A text on one line, safe for a terminal."""
    return Text("".join(character if character.isprintable() else ascii(character)[1:-1] for character in text))


def _coloured(content: str, offsets: list[tuple[int, int]]) -> Text:
    """The text with a background for each token; control characters other than line breaks are spelled out."""
    shown = Text()
    at = 0
    for i, (start, end) in enumerate(offsets):
        if end <= at:
            continue
        shown.append(_printable(content[at : max(at, start)]))
        style = Style(bgcolor=BACKGROUNDS[i % len(BACKGROUNDS)])
        shown.append(_printable(content[max(at, start) : end]), style)
        at = end
    shown.append(_printable(content[at:]))
    return shown


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)
