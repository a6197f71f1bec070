"""The tables that ``gptcore eval`` and ``gptcore train --list-settings`` print."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from gptcore.spec.recipe import FINE_TUNING, PRETRAINING, described
from gptcore.training import Evaluation
from gptcore.training.evaluation import baseline, confusion

METRICS = {
    "loss": ("loss", "nats per token"),
    "perplexity": ("perplexity", "equally likely tokens"),
    "bits_per_byte": ("bits per byte", "bits per byte of UTF-8 text"),
    "accuracy": ("accuracy", "fraction of the examples"),
    "f1": ("macro F1", "mean over the labels"),
    "matthews": ("Matthews correlation", "-1 to 1"),
    "pearson": ("Pearson correlation", "-1 to 1"),
    "spearman": ("Spearman correlation", "-1 to 1"),
    "task_loss": ("task loss", "nats per example"),
    "lm_loss": ("language-model loss", "nats per token"),
}
"""Name in the log -> printed name and unit, in the order of printing."""

MOST = 20  # confusions to list if the table would not fit


def print_report(evaluation: Evaluation, subject: str, labels: Sequence[str] = ()) -> None:
    """Print the metrics with their units and, for a task, those of a baseline and a confusion table.

    Args:
        evaluation: The metrics, outputs and targets.
        subject: The heading: model and data.
        labels: Names of the classes, by number. Default: none, as for scores and language models.
    """
    console = Console(highlight=False)
    console.print(escape(subject), soft_wrap=True)
    table = Table("metric", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    outputs, targets = evaluation.outputs, evaluation.targets
    units = {name: METRICS[name] for name in METRICS if name in evaluation.metrics}
    others: Mapping[str, float] = {}
    note = ""
    table.add_column("model" if outputs is not None else "value", justify="right")
    if outputs is not None and targets is not None:
        constant, others = baseline(outputs, targets)
        answer = labels[int(constant)] if labels else f"{constant:.4f}"
        note = f"The baseline always predicts the {'most frequent label' if labels else 'mean score'}, {answer}."
        table.add_column("baseline", justify="right")
        if len(labels) == 2:
            units["f1"] = (f"F1 of {labels[1]}", "0 to 1")
        if not labels:
            units["task_loss"] = ("mean squared error", "score squared")
    table.add_column("unit")
    for name, (title, unit) in units.items():
        cells = [_figure(evaluation.metrics[name])]
        if outputs is not None:
            cells.append(_figure(others.get(name, math.nan)))
        table.add_row(escape(title), *cells, unit)
    console.print(table)
    if note:
        console.print(escape(note), soft_wrap=True)
    if outputs is not None and targets is not None and labels:
        confusions = confusion(outputs, targets)
        console.print(f"{np.trace(confusions):,} of {confusions.sum():,} examples are labelled correctly.")
        _print_confusion(console, confusions, labels)


def _figure(value: float) -> str:
    return f"{value:,.4f}" if math.isfinite(value) else "-"


def _print_confusion(console: Console, confusions: NDArray[np.int64], labels: Sequence[str]) -> None:
    """Print the confusion table, headed by numbers if names are too long; if still too wide, only its largest cells."""
    numbers = list(map(str, range(len(labels))))
    numbered = [f"{number} {label}" for number, label in zip(numbers, labels, strict=True)]
    for rows, columns in ((labels, labels), (numbered, numbers)):
        table = Table("true \\ predicted")
        for column in columns:
            table.add_column(escape(column), justify="right", no_wrap=True)
        for row, counts in zip(rows, confusions.tolist(), strict=True):
            table.add_row(escape(row), *(f"{count:,}" for count in counts))
        if Measurement.get(console, console.options.update(max_width=10**6), table).maximum <= console.width:
            console.print(table)
            return
    wrong = confusions * (1 - np.eye(len(labels), dtype=np.int64))
    order = [int(i) for i in np.argsort(-wrong, axis=None, kind="stable")[:MOST] if wrong.flat[i]]
    table = Table("true", "predicted", "examples", title="most frequent confusions")
    for true, predicted in (divmod(i, len(labels)) for i in order):
        table.add_row(escape(labels[true]), escape(labels[predicted]), f"{wrong[true, predicted]:,}")
    console.print(table)


def print_settings() -> None:
    """Print the settings of a recipe: type and unit, default for language modelling and for tasks, and meaning."""
    console = Console(highlight=False, markup=False)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    for heading, width in {"setting": None, "type": 16, "train lm": None, "tasks": None, "meaning": None}.items():
        table.add_column(heading, max_width=width)
    for setting in described():
        defaults = (getattr(recipe, setting.name) for recipe in (PRETRAINING, FINE_TUNING))
        unit = f", {setting.unit}" if setting.unit else ""
        table.add_row(setting.name, setting.type + unit, *map(_literal, defaults), setting.text)
    console.print(table)
    console.print("Pass one as --set NAME=VALUE, or several in a YAML or JSON file: --recipe FILE.", soft_wrap=True)


def _literal(value: object) -> str:
    """A value as ``--set`` accepts it."""
    return value if isinstance(value, str) else json.dumps(value).replace("null", "none")
