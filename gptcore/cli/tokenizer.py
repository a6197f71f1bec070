"""``gptcore tokenizer train``: train a vocabulary on a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

from gptcore.cli.settings import PRE_TOKENIZER, examples, require_empty
from tokenization import train

TRAIN = "gptcore tokenizer train books --output words --vocab-size 8192 --pre-tokenizer basic"

tokenizer_application = typer.Typer(help="Train tokenizers.", epilog=examples(TRAIN), no_args_is_help=True)


@tokenizer_application.callback()
def _group() -> None:
    """Train tokenizers."""


@tokenizer_application.command("train", epilog=examples(TRAIN))
def train_command(
    files: Annotated[list[Path], typer.Argument(help="UTF-8 text files, plain, .xz or .gz, or folders of them.")],
    output: Annotated[Path, typer.Option(help="The folder to write; created if missing.")],
    vocab_size: Annotated[int, typer.Option(min=1, help="Maximum number of pieces.")] = 40_478,
    pre_tokenizer: Annotated[str, typer.Option(help=PRE_TOKENIZER)] = "auto",
    min_frequency: Annotated[int, typer.Option(min=1, help="Pairs that occur less often are not merged.")] = 2,
    force: Annotated[bool, typer.Option("--force", help="Replace files of the same names in --output.")] = False,
    quiet: Annotated[bool, typer.Option(help="Hide the progress bar.")] = False,
) -> None:
    """Train a byte-pair vocabulary, and write vocab.json, merges.txt, tokenizer.json and the settings."""
    require_empty(output, force)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    quiet = quiet or not console.is_terminal  # without a terminal, tokenizers would print empty lines
    with Progress(*columns, console=console, disable=quiet, transient=True) as bar:
        task = bar.add_task("reading", total=None)
        tokenizer = train(
            list(files),
            vocab_size,
            output,
            pre_tokenizer=pre_tokenizer,
            min_frequency=min_frequency,
            show_progress=not quiet,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    text = f"{len(tokenizer):,} pieces, text path {tokenizer.pre_tokenizer!r}, in {output}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)
