"""The curves of a run, drawn from its log: as a picture and in the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gptcore.report.figures import DARK, GREY, ORANGE, PALE, legend_above, picture
from gptcore.training.run import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes

METRICS = {"accuracy": "accuracy", "pearson": "Pearson's correlation"}
SHORT = 20
"""Number of updates below which losses are drawn without a running median."""


def curve(records: Sequence[Record], name: str) -> tuple[list[int], list[float]]:
    """The steps at which a name was logged, and its values there.

    >>> curve([{"step": 0, "loss": 3.0}, {"step": 1, "loss": 2.5, "eval_loss": 2.6}], "eval_loss")
    ([1], [2.6])
    """
    points = [(record["step"], record[name]) for record in records if name in record]
    return [step for step, _ in points], [value for _, value in points]


@dataclass(frozen=True)
class Losses:
    """The losses of training as they are drawn.

    Attributes:
        updates: Number of updates before each loss.
        values: The losses, NaN where a loss was not finite.
        window: Number of losses in the running median, fewer at both ends; 1 for no median.
        spacing: Number of updates between two losses.
        centres: Indices of ``values`` at which the median is computed, at most 400.
        medians: The running median at each centre.
        top: The largest value that is drawn; outliers above it are marked at the edge.
    """

    updates: NDArray[Any]
    values: NDArray[Any]
    window: int
    spacing: int
    centres: NDArray[Any]
    medians: NDArray[Any]
    top: float

    @property
    def smoothing(self) -> str:
        """The label of the running median."""
        return f"running median of {self.window * self.spacing:,} updates"


def losses(records: Sequence[Record], name: str) -> Losses:
    """The losses of this name, with their running median.

    >>> drawn = losses([{"step": step, "loss": 900.0 if step == 3 else 5 - step / 100} for step in range(100)], "loss")
    >>> drawn.window, round(float(drawn.medians.max()), 1), drawn.top < 10
    (21, 5.0, True)
    """
    steps, logged = curve(records, name)
    updates, values = np.array(steps, np.int64), np.array(logged, np.float64)
    values[~np.isfinite(values)] = np.nan
    count = len(values)
    window = 1 if count < SHORT else int(2 * math.sqrt(count)) | 1
    spacing = int(np.median(np.diff(updates))) if count > 1 else 1
    centres = np.unique(np.linspace(0 if window == 1 else 2, max(count - 1, 0), min(count, 400)).astype(int))
    reach = np.minimum(centres, window // 2)  # shorter at the start, where losses fall fastest
    nearby = [values[centre - before : centre + before + 1] for centre, before in zip(centres, reach, strict=True)]
    medians = np.array([np.median(part[np.isfinite(part)]) if np.isfinite(part).any() else np.nan for part in nearby])
    finite, smooth = values[np.isfinite(values)], medians[np.isfinite(medians)]
    top = math.inf
    if len(smooth) and window > 1:
        usual = np.quantile(finite, 0.98, method="lower")
        top = max(usual, smooth.max() + 0.6 * (smooth.max() - smooth.min()))
    return Losses(updates, values, window, spacing, centres, medians, float(top))


def plot(records: Sequence[Record], path: str | Path) -> None:
    """Write the curves of a run as PNG, SVG or PDF.

    Training losses are pale, one per update, under their running median; held-out losses share the axis. A task has
    separate panels for its loss, its metric and its language-modelling loss.

    Args:
        records: The log, as ``read_log`` returns it; each record has at least ``step``, counted from 0, and ``loss``. A
            loss is that of the weights before its update, an evaluation that of the weights after it.
        path: The file; its suffix decides the format.
    """
    task = any("task_loss" in record for record in records)
    metric = next((name for name in METRICS if any(f"eval_{name}" in record for record in records)), None)
    unit = "squared error" if metric == "pearson" else "nats per example"
    panels: list[tuple[float, Any]] = []
    if task:
        panels.append((2.3, lambda axis: draw_losses(axis, records, "task_loss", f"task loss\n({unit})")))
        if metric:
            panels.append((2.0, lambda axis: draw_metric(axis, records, metric)))
    name = "lm_loss" if task else "loss"
    label = "language-modelling loss\n(nats per token)" if task else "loss (nats per token)"
    panels.append((2.0 if task else 3.6, lambda axis: draw_losses(axis, records, name, label)))
    if any("learning_rate" in record for record in records):
        panels.append((1.1, lambda axis: draw_rates(axis, records)))
    heights = [height for height, _ in panels]
    with picture(path, 8, 0.9 + sum(heights), title(records, task, metric)) as figure:
        ratios = {"height_ratios": heights}
        axes: Any = figure.subplots(len(panels), 1, sharex=True, squeeze=False, gridspec_kw=ratios)[:, 0]
        for axis, (_, fill) in zip(axes, panels, strict=True):
            fill(axis)
            axis.margins(x=0.02)
        axes[-1].set_xlabel("updates")
        axes[-1].xaxis.set_major_locator(whole_updates())
        axes[-1].xaxis.set_major_formatter("{x:,.0f}")
        figure.align_ylabels(axes)


def title(records: Sequence[Record], task: bool, metric: str | None) -> str:
    """The title of the picture, with the last evaluation.

    >>> title([{"step": 0, "loss": 3.0}, {"step": 1, "loss": 2.5, "eval_loss": 2.6}], task=False, metric=None)
    'Language modelling: held-out loss 2.600 after 2 updates'
    """
    stage = "Fine-tuning" if task else "Language modelling"
    name = metric or "loss"
    steps, values = curve(records, f"eval_{name}")
    if not steps:
        return f"{stage}: {records[-1]['step'] + 1 if records else 0:,} updates"
    what = {"pearson": "correlation"}.get(name, name)
    return f"{stage}: held-out {what} {values[-1]:.3f} after {steps[-1] + 1:,} updates"


def whole_updates() -> Any:
    """Tick locations at whole, round numbers of updates."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(8, steps=[1, 2, 5, 10], integer=True)


def draw_losses(axis: Axes, records: Sequence[Record], name: str, label: str) -> None:
    """Draw a training loss and the held-out loss on one axis."""
    drawn = losses(records, name)
    axis.set_ylabel(label)
    few = drawn.window == 1
    each = "training, each update" if drawn.spacing == 1 else f"training, every {drawn.spacing:,} updates"
    raw: dict[str, Any] = {"color": DARK, "marker": "s", "markersize": 4} if few else {"color": PALE, "linewidth": 0.8}
    axis.plot(drawn.updates, drawn.values, label=each, **raw)
    if not few:
        axis.plot(drawn.updates[drawn.centres], drawn.medians, color=DARK, linewidth=1.8, label=drawn.smoothing)
    above = draw_held_out(axis, records, f"eval_{name}")
    limit_losses(axis, drawn, above)
    evaluations = [record for record in records if record.get("eval_bits_per_byte")]
    ratios = [record["eval_bits_per_byte"] / record["eval_loss"] for record in evaluations]
    ratio = next(filter(math.isfinite, ratios), None)
    if name == "loss" and ratio:
        bits = axis.secondary_yaxis("right", functions=(lambda nats: nats * ratio, lambda bits: bits / ratio))
        bits.set_ylabel("bits per byte of the held-out text")
    legend_above(axis)


def draw_held_out(axis: Axes, records: Sequence[Record], name: str, best: Any = min) -> NDArray[Any]:
    """Draw the values of the evaluations, and return them."""
    steps, logged = curve(records, name)
    values = np.array(logged, np.float64)
    finite = [(value, step + 1) for step, value in zip(steps, values, strict=True) if math.isfinite(value)]
    if steps:
        label = "held-out"
        if len(finite) > 1:
            value, update = best(finite)
            label = f"held-out, best {value:.3f} after {update:,}"
        size = 5 if len(steps) < 40 else 2.5
        axis.plot(np.array(steps) + 1, values, color=ORANGE, marker="o", markersize=size, linewidth=1.3, label=label)
    return values


def limit_losses(axis: Axes, drawn: Losses, held_out: NDArray[Any]) -> None:
    """Set limits that ignore a few outliers, and mark values outside of them at the edge."""
    shown = np.concatenate([drawn.values[drawn.values <= drawn.top], held_out[np.isfinite(held_out)]])
    if len(shown):
        low, high = shown.min(), shown.max()
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        axis.set_ylim(low - margin, high + margin)
    marks = (
        (drawn.values > max(shown, default=math.inf), 0.97, "^", "above the axis"),
        (np.isnan(drawn.values), 0.03, "x", "not finite"),
    )
    for which, height, marker, what in marks:
        if which.any():
            label, edge = f"{what} ({which.sum():,})", axis.get_xaxis_transform()
            axis.plot(drawn.updates[which], [height] * which.sum(), f"k{marker}", transform=edge, label=label)


def draw_metric(axis: Axes, records: Sequence[Record], metric: str) -> None:
    """Draw the metric on held-out examples and its baseline."""
    values = draw_held_out(axis, records, f"eval_{metric}", max)
    axis.set_ylabel(METRICS[metric])
    baselines = [0.0] if metric == "pearson" else curve(records, "eval_baseline")[1][-1:]
    name = {"accuracy": "always the most frequent label", "pearson": "no correlation"}[metric]
    for baseline in baselines:
        axis.axhline(baseline, color=GREY, linestyle="--", linewidth=1.2, label=f"{name} ({baseline:.3g})")
    shown = np.array([*values[np.isfinite(values)], *baselines])
    if len(shown):
        low, high = shown.min(), shown.max()
        margin = max(0.08 * (high - low), 0.02)
        axis.set_ylim(low - margin, high + margin)
    legend_above(axis)


def draw_rates(axis: Axes, records: Sequence[Record]) -> None:
    """Draw the learning rate of each update."""
    steps, rates = curve(records, "learning_rate")
    axis.plot(steps, rates, color=DARK, linewidth=1.3, marker="s" if len(steps) < SHORT else None, markersize=4)
    axis.set_ylabel("learning rate")
    axis.set_ylim(bottom=0)
    axis.locator_params(axis="y", nbins=4, steps=[1, 2, 4, 5, 10])
    axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")


def draw(records: Sequence[Record], width: int = 80, height: int = 16) -> str:
    """The losses as text for a terminal: a line for training, an ``o`` for each evaluation."""
    import plotext

    task = any("task_loss" in record for record in records)
    name, unit = ("task_loss", "task loss") if task else ("loss", "loss, nats per token")
    drawn = losses(records, name)
    steps, held_out = curve(records, f"eval_{name}")
    plotext.clear_figure()
    plotext.plot_size(width, height)
    plotext.title(f"{unit}: {'training' if drawn.window == 1 else drawn.smoothing}{', held-out (o)' if steps else ''}")
    lines = ((drawn.updates[drawn.centres], drawn.medians, "braille"), (np.array(steps) + 1, np.array(held_out), "o"))
    for (updates, values, marker), put in zip(lines, (plotext.plot, plotext.scatter), strict=True):
        finite = np.isfinite(values)
        if finite.any():
            put(updates[finite].tolist(), values[finite].tolist(), marker=marker)
    last = int(drawn.updates.max(initial=0)) + 1
    ticks = [tick for tick in whole_updates().tick_values(0, last) if 0 <= tick <= last]
    plotext.xlim(0, last)
    plotext.xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    plotext.xlabel("updates")
    return str(plotext.uncolorize(plotext.build()))
