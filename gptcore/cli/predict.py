"""``gptcore predict``: label texts with a model that was fine-tuned for the task."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gptcore.cli.loading import Device, quiet, use_backend
from gptcore.cli.settings import columns_named, text_columns
from gptcore.errors import ConfigError
from gptcore.pipelines import TASK_OF, Prediction, pipeline
from gptcore.storage import read_table
from gptcore.training.examples import reject_unread_choices
from gptcore.training.jobs import columns_of

PIPELINE_OF = {task: name for name, task in TASK_OF.items()}


def predict_command(
    context: typer.Context,
    task: Annotated[str, typer.Argument(help="classify, entail, similarity or choice.")],
    model: Annotated[str, typer.Option(help="A run of gptcore train, a folder or a repository.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="Tables (JSONL, CSV, TSV) with the columns of the task.")
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(help="A text instead of FILES; repeat the option for each text column of the task."),
    ] = None,
    backend: Annotated[str, typer.Option(help="torch, tf or flax.")] = "torch",
    device: Device = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Names of the text columns, separated by commas. Default: as in training, else the task's."),
    ] = None,
    header: Annotated[
        str | None,
        typer.Option(help="Names of all columns, separated by commas, for CSV or TSV files without a header line."),
    ] = None,
    choices: Annotated[
        int | None,
        typer.Option(
            min=2, help="Number of choices (task choice only). Default: as in training, else 2.", show_default=False
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows to compute at a time.")] = 8,
    form: Annotated[
        str | None,
        typer.Option("--format", help="table, jsonl or csv. Default: table on a terminal, else jsonl."),
    ] = None,
) -> None:
    """Print the most likely label of every row and its probability, or the score if the model was trained on scores."""
    if task not in PIPELINE_OF:
        raise ConfigError(f"TASK must be one of {', '.join(PIPELINE_OF)}; got {task!r}.")
    write = WRITERS.get(form or ("table" if sys.stdout.isatty() else "jsonl"))
    if write is None:
        raise ConfigError(f"--format must be one of {', '.join(WRITERS)}; got {form!r}.")
    if bool(files) == bool(text):
        raise ConfigError("pass either FILES or --text, and not both.")
    rows: Sequence[Mapping[str, Any]]
    if files:
        requested = columns_named(task, columns, choices)
        names = requested or columns_of(model, task)
        rows = table = read_table(files, names, header.split(",") if header else None)
        if requested is None:
            reject_unread_choices(task, table, names)
    else:
        names = text_columns(task, columns, max(len(text or ()) - 1, 2))
        rows = [dict(zip(names, text or [], strict=False))]
    if text and len(text) != len(names):
        raise ConfigError(f"--text must be passed {len(names)} times, for {', '.join(names)}; got {len(text)}.")
    use_backend(context, backend, device)
    with quiet():
        predict = pipeline(PIPELINE_OF[task], model, backend=backend, batch_size=batch_size)
    assert isinstance(predict, Prediction)
    write(names, rows, [answer[0] if isinstance(answer, list) else answer for answer in predict.answers(rows, names)])


def _table(names: Sequence[str], rows: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> None:
    table = Table()
    for name in (*answers[0], *names):
        table.add_column(name, justify="right" if name == "score" else "left")
    for row, answer in zip(rows, answers, strict=True):
        cells = [f"{value:.4f}" if isinstance(value, float) else escape(value) for value in answer.values()]
        table.add_row(*cells, *(escape(row[name]) for name in names))
    Console(highlight=False).print(table)


def _jsonl(names: Sequence[str], rows: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> None:
    for answer in answers:
        print(json.dumps(answer, ensure_ascii=False))


def _csv(names: Sequence[str], rows: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, list(answers[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(answers)


WRITERS: dict[str, Callable[..., None]] = {"table": _table, "jsonl": _jsonl, "csv": _csv}
