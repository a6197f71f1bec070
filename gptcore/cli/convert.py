"""``gptcore convert`` and ``gptcore inspect``: convert and describe checkpoints of any format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gptcore.checkpoint.opening import head_named, open_checkpoint
from gptcore.cli.settings import parse_settings, require_empty
from gptcore.convert.conversion import convert_checkpoint
from gptcore.convert.inspection import describe
from gptcore.errors import StorageError

AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Read files written by torch.save. Code in them is never executed.")
]
Config = Annotated[
    list[str] | None,
    typer.Option("--config", metavar="NAME=VALUE", help="A config setting that the source lacks, such as n_head=12."),
]


def convert_command(
    source: Annotated[str, typer.Argument(help="A folder, a file of weights, or owner/name on the hub.")],
    output: Annotated[Path, typer.Argument(help="The folder to write; created if missing.")],
    to: Annotated[str, typer.Option(help="Format to write: safetensors, pytorch, tf, keras, flax, orbax or openai.")],
    dtype: Annotated[
        str | None, typer.Option(help="float32, float64, float16 or bfloat16. Default: as stored.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Model class, such as OpenAIGPTLMHeadModel. Default: that of the source.")
    ] = None,
    max_shard_size: Annotated[
        str | None, typer.Option(help="File size limit, such as 500MB; for safetensors and pytorch.")
    ] = None,
    config: Config = None,
    allow_pickle: AllowPickle = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files of the same names in OUTPUT.")] = False,
    quiet: Annotated[bool, typer.Option(help="Hide the progress bar.")] = False,
) -> None:
    """Write a checkpoint in another format with a model card, then read it back and compare every value."""
    require_empty(output, force)
    if output.exists() and not output.is_dir():
        raise StorageError(f"OUTPUT must be a folder; got the file {output}. Choose another name.")
    head = head_named(model) if model else None
    opened = open_checkpoint(source, allow_pickle=allow_pickle, head=head, **parse_settings(config or [], "--config"))
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=quiet or not console.is_terminal, transient=True) as bar:
        shown = bar.add_task("converting", total=None)
        rounding = convert_checkpoint(
            opened,
            output,
            to,
            dtype=dtype,
            max_shard_size=max_shard_size,
            progress=lambda done, total: bar.update(shown, completed=done, total=total),
        )
    written = dtype or opened.dtype
    text = f"{output}: {opened.head.architecture}, {to}, {written}; read back and verified"
    for line in [text, rounding.summary(written)] if rounding.changed else [text]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def inspect_command(
    source: Annotated[str, typer.Argument(help="A folder, a file of weights, or owner/name on the hub.")],
    config: Config = None,
    allow_pickle: AllowPickle = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the tensors of a checkpoint and the models that can load it; exit status 1 if it has a problem."""
    description = describe(source, allow_pickle=allow_pickle, **parse_settings(config or [], "--config"))
    if as_json:
        print(json.dumps(description, indent=2))
    else:
        _print(description)
    raise typer.Exit(1 if description["problems"] else 0)


def _print(description: Any) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{description['path']}: {', '.join(description['files'])} ({', '.join(description['formats'])})")
    table = Table()
    for heading in ("tensor", "parameter", "dtype", "shape", "bytes"):
        table.add_column(heading, justify="right" if heading == "bytes" else "left", overflow="fold")
    for tensor in description["tensors"]:
        shape = " x ".join(map(str, tensor["shape"]))
        table.add_row(tensor["name"], tensor["parameter"], tensor["dtype"], shape, f"{tensor['bytes']:,}")
    console.print(table)
    if description["config"]:
        sizes = ("n_layer", "n_embd", "n_head", "n_positions", "vocab_size")
        settings = ", ".join(f"{name} {description['config'][name]}" for name in sizes)
        console.print(f"{description['model']}, {description['parameters']:,} parameters: {settings}")
    tied = "tied; the head is stored, too" if description["tied_head_stored"] else "tied; stored once"
    console.print(f"token embedding and language-modelling head: {tied}")
    for architecture, loads in description["loads"].items():
        fresh, aside = loads["fresh"], loads["left_aside"]
        text = f"new and untrained: {', '.join(fresh)}" if fresh else "loads every parameter"
        console.print(f"  {architecture}: {text}" + (f"; not used: {', '.join(aside[:4])}" if aside else ""))
    for problem in description["problems"]:
        console.print(Text.assemble(("problem:", "red"), f" {problem}"))
