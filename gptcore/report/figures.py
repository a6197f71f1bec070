"""Pictures, all in one style: readable in greyscale and by colour-blind people, whatever matplotlib style is set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gptcore.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALE, DARK, ORANGE, GREY = "#a9cbe8", "#0b4a80", "#d55e00", "#555555"
"""Colours that differ in lightness, except orange, whose lines have markers."""

STYLE = {
    "figure.dpi": 120,
    "savefig.dpi": 120,
    "font.size": 9,
    "figure.titlesize": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "agg.path.chunksize": 20_000,
}


@contextmanager
def picture(path: str | Path, width: float, height: float, title: str) -> Iterator[Figure]:
    """A figure to draw in; on exit it is written as PNG, SVG or PDF, depending on the suffix of ``path``.

    The backend and the figures of pyplot are unchanged.

    Args:
        path: The file to write.
        width: Width in inches.
        height: Height in inches.
        title: The title of the figure.
    """
    import matplotlib as mpl
    from matplotlib import style
    from matplotlib.figure import Figure

    with mpl.rc_context(), style.context(["default", STYLE]):
        figure = Figure(figsize=(width, height), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        yield figure
        if Path(path).suffix == ".png":
            write_png(figure, path)
        else:
            figure.savefig(path)


def write_png(figure: Figure, path: str | Path) -> None:
    """Write a PNG of 256 colours, which looks the same in a third of the bytes."""
    from io import BytesIO

    from PIL import Image

    buffer = BytesIO()
    figure.savefig(buffer, format="png")
    with Image.open(buffer) as image:
        image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE).save(path, dpi=(120, 120), optimize=True)


def legend_above(axis: Axes) -> None:
    """A legend over the axes, where it covers no data."""
    axis.legend(
        loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0.2, handlelength=1.6, columnspacing=1.4
    )


def plot_attentions(
    attentions: Sequence[ArrayLike],
    tokens: Sequence[str],
    path: str | Path,
    *,
    marked: Sequence[tuple[int, int, int]] = (),
    first_layer: int = 1,
) -> None:
    """Write attention maps as PNG, SVG or PDF: one row per layer, one column per head.

    Args:
        attentions: The weights of each layer, (1, H, T, T) or (H, T, T), as ``output_attentions=True`` returns them.
        tokens: The T tokens.
        path: The file; its suffix decides the format.
        marked: Cells to put a box around, as (row of the picture, query, key), each counted from 0.
        first_layer: The number of the first layer in ``attentions``, for the titles. Default: 1.

    Raises:
        InputError: The weights of a layer have another shape.
    """
    count = len(tokens)
    layers = [_heads(layer, count) for layer in attentions]
    rows, columns, side = len(layers), len(layers[0]), 0.9 + 0.17 * count
    title = "Attention weights: each token attends to itself and earlier tokens"
    with picture(path, 1.6 + side * columns, 1.4 + side * rows, title) as figure:
        axes: Any = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
        for (layer, head), axis in np.ndenumerate(axes):
            image = axis.imshow(layers[layer][head], vmin=0, vmax=1, cmap="Blues")
            axis.set_title(f"layer {layer + first_layer}, head {head + 1}", fontsize=9)
            axis.set_xticks(range(count), tokens, rotation=90)
            axis.set_yticks(range(count), tokens)
            axis.grid(False)
            axis.spines[:].set_visible(True)
            for key, query in [(key, query) for where, query, key in marked if where == layer]:
                axis.plot(key, query, "s", markersize=9, markerfacecolor="none", markeredgecolor=ORANGE)
        figure.colorbar(image, ax=axes, label="attention weight (a row adds up to 1)", shrink=0.8)
        figure.supylabel("query token")
        figure.supxlabel("key token")


def _heads(layer: Any, count: int) -> NDArray[np.float32]:
    """The weights of the heads of a layer, (H, T, T)."""
    weights = np.asarray(layer.detach() if hasattr(layer, "detach") else layer, np.float32)
    if weights.ndim not in (3, 4) or weights.shape[-2:] != (count, count) or (weights.ndim == 4 and len(weights) != 1):
        raise InputError(
            f"the attention weights of a layer must have shape (heads, {count}, {count}) or "
            f"(1, heads, {count}, {count}) for {count} tokens; got {weights.shape}. Pass the weights of one text and "
            "all its tokens."
        )
    return weights.reshape(-1, count, count)
