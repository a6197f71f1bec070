"""The loss curve of a run, as a picture and in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gptcore.training.run import Record

CURVES = ("loss", "eval_loss", "eval_accuracy", "eval_pearson")


def curve(records: Sequence[Record], name: str) -> tuple[list[int], list[float]]:
    """The steps at which a name was logged, and its values there.

    >>> curve([{"step": 0, "loss": 3.0}, {"step": 1, "loss": 2.5, "eval_loss": 2.6}], "eval_loss")
    ([1], [2.6])
    """
    found = [(record["step"], record[name]) for record in records if name in record]
    return [step for step, _ in found], [value for _, value in found]


def plot(records: Sequence[Record], path: str | Path) -> None:
    """Write the loss of training and evaluation, and the main metric, as PNG or SVG by the name of ``path``."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    axis.set(xlabel="update", ylabel="loss")
    twin = None
    for name in CURVES:
        steps, values = curve(records, name)
        if steps and name.endswith("loss"):
            axis.plot(
                steps, values, label=name.replace("_", " "), marker="o" if len(steps) < 30 else None, markersize=3
            )
        elif steps:
            twin = axis.twinx()
            twin.set_ylabel(name.removeprefix("eval_"))
            twin.plot(steps, values, color="tab:green", marker="o", markersize=3, label=name.replace("_", " "))
    axis.legend()
    if twin is not None:
        twin.legend(loc="lower right")
    axis.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def draw(records: Sequence[Record], width: int = 80, height: int = 16) -> str:
    """The losses as text for a terminal."""
    import plotext

    plotext.clear_figure()
    plotext.plot_size(width, height)
    for name in ("loss", "eval_loss"):
        steps, values = curve(records, name)
        if steps:
            plotext.plot(steps, values, label=name.replace("_", " "))
    plotext.xlabel("update")
    return str(plotext.uncolorize(plotext.build()))
