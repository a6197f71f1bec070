"""``gptcore demo``: one story from every framework, then how far their numbers are apart."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from gptcore import DEFAULT_MODEL
from gptcore.backends import installed, load_backend
from gptcore.cli.verify import print_report
from gptcore.parameters import Head
from gptcore.verify import verify
from tokenization import OpenAIGPTTokenizerFast


def demo_command(
    text: Annotated[str, typer.Argument(help="How the story begins.")] = "Once upon a time there was a king who",
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Length of the story.")] = 120,
    temperature: Annotated[float, typer.Option(help="Divides the logits.")] = 0.8,
    top_p: Annotated[float, typer.Option(help="Keep the likeliest tokens of this probability.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the draws, in every framework.")] = 0,
) -> None:
    """Sample one story in every framework from the model that ships inside, and print the parity table.

    Exit status 1 if the stories differ, or a tolerance is broken.
    """
    console = Console(highlight=False)
    backends = [load_backend(name) for name in installed()]
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(DEFAULT_MODEL)
    ids = np.array([tokenizer(text).input_ids], np.int64)
    settings = {"max_new_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p, "seed": seed}
    models = (backend.load(DEFAULT_MODEL, Head.LM) for backend in backends)
    drawn = [model.generate(ids, do_sample=True, **settings)[0].tolist() for model in models]
    stories = Table(*(backend.name for backend in backends))
    stories.add_row(*(tokenizer.decode(story, readable=True) for story in drawn))
    console.print(stories)
    same = all(story == drawn[0] for story in drawn)
    console.print(f"[green]the same {len(drawn[0])} tokens[/]" if same else "[red]the stories differ[/]")
    report = verify(DEFAULT_MODEL, backends)
    print_report(report)
    raise typer.Exit(0 if same and report.passed else 1)
