"""``gptcore demo``: generate one story in every framework, then compare their numbers."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gptcore.cli.loading import load_backends
from gptcore.cli.verify import print_report
from gptcore.release import DEFAULT_MODEL
from gptcore.spec.parameters import Head
from gptcore.verify import verify
from tokenization import OpenAIGPTTokenizerFast

NEXT = (
    ('generate "The dog" --seed 1', "continue a text of your own"),
    ('tokenize --text "The dog sat."', "show the tokens of a text"),
    ("--help", "list all commands; each has its own --help"),
)


def demo_command(
    text: Annotated[str, typer.Argument(help="Beginning of the story.")] = "Once upon a time there was a king who",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Number of new tokens.")] = 120,
    temperature: Annotated[float, typer.Option(help="Sampling temperature. Lower is more predictable.")] = 0.8,
    top_p: Annotated[
        float, typer.Option(help="Sample from the smallest set of tokens whose probabilities add up to this.")
    ] = 0.95,
    seed: Annotated[int, typer.Option(help="Random seed, the same for every framework.")] = 0,
) -> None:
    """Sample one story in every framework from the bundled model, and show how closely the frameworks agree.

    Exit status 1 if the stories differ or a tolerance is exceeded.
    """
    console = Console(highlight=False)
    console.print("Loading the frameworks. Each then generates the same story; about a minute in all.")
    backends = load_backends()
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(DEFAULT_MODEL)
    ids = np.array([tokenizer(text).input_ids], np.int64)
    settings = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    drawn = []
    for backend in backends:
        with console.status(f"{backend.name} is writing"):
            drawn.append(backend.load(DEFAULT_MODEL, Head.LM).generate(ids, do_sample=True, **settings)[0].tolist())
    stories = Table(*(backend.name for backend in backends))
    stories.add_row(*(escape(tokenizer.decode(story, readable=True)) for story in drawn))
    console.print(stories)
    same = all(story == drawn[0] for story in drawn)
    verdict = f"[green]all stories have the same {len(drawn[0])} tokens[/]" if same else "[red]the stories differ[/]"
    console.print(verdict)
    console.print()
    with console.status("comparing logits, loss and gradients with the float64 reference"):
        report = verify(DEFAULT_MODEL, backends)
    print_report(report)
    console.print("\nNext:")
    width = max(len(arguments) for arguments, _ in NEXT)
    for arguments, purpose in NEXT:
        console.print(f"  {escape(_program())} {escape(arguments):{width}}  # {purpose}", soft_wrap=True)
    raise typer.Exit(0 if same and report.passed else 1)


def _program() -> str:
    """The command as the user can type it, even if it is not on the shell's search path."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return "python -m gptcore"
    on_path = shutil.which(path.name)
    if on_path and Path(on_path).absolute() == path.absolute():
        return path.name
    inside = path.absolute().is_relative_to(Path.cwd())
    return shlex.quote(os.path.relpath(path) if inside else str(path.absolute()))
