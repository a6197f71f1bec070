"""The pictures of a run: what is in them, and that all of it can be seen."""

import math
import random
import re
import struct

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from gptcore.errors import InputError
from gptcore.report.curves import draw, plot
from gptcore.report.figures import plot_attentions

EVALUATION = {
    "lm": {"loss": 4.2, "perplexity": 66.7, "bits_per_byte": 1.4},
    "classify": {"task_loss": 0.5, "lm_loss": 4.1, "accuracy": 0.8, "f1": 0.7, "baseline": 0.6},
    "similarity": {"task_loss": 0.5, "lm_loss": 4.1, "pearson": 0.4},
}
LOSS, TASK, LM, RATE = (
    "loss (nats per token)",
    "task loss\n({})",
    "language-modelling loss\n(nats per token)",
    "learning rate",
)
CLASSES, ACCURACY, CORRELATION = TASK.format("nats per example"), "accuracy", "Pearson's correlation"
SCORES = TASK.format("squared error")


def log(kind, count, every=0, **changes):
    """The records of a run; the losses at some steps are other ones."""
    noise, records = random.Random(0), []
    for step in range(count):
        loss = changes.get(f"step{step}", 4 + 4 * math.exp(-step / 30) + noise.gauss(0, 0.1))
        record = {"step": step, "loss": loss, "lm_loss": loss, "learning_rate": 1e-3 * (1 - step / count)}
        if kind != "lm":
            record["task_loss"] = loss / 4
        if every and (step + 1) % every == 0:
            record |= {
                f"eval_{name}": value for name, value in (EVALUATION[kind] | changes).items() if name[:4] != "step"
            }
        records.append(record)
    return records


PICTURES = {
    # records: title, labels of the panels from above, names in the legends
    "pre-training": (log("lm", 300, 100), "Language modelling: held-out loss 4.200 after 300 updates", [LOSS, RATE],
                     {"training, each update", "running median of 35 updates", "held-out, best 4.200 after 100"}),
    "a loop of one's own": ([{"step": s, "loss": 5 - s / 100} for s in range(9, 300, 10)],
                            "Language modelling: 300 updates", [LOSS],
                            {"training, every 10 updates", "running median of 110 updates"}),
    "three updates": (log("lm", 3, 3), "Language modelling: held-out loss 4.200 after 3 updates", [LOSS, RATE],
                      {"training, each update", "held-out"}),
    "one update": (log("lm", 1), "Language modelling: 1 updates", [LOSS, RATE], {"training, each update"}),
    "outliers": (log("lm", 300, step2=900.0, step200=80.0), "Language modelling: 300 updates", [LOSS, RATE],
                 {"training, each update", "running median of 35 updates", "above the axis (2)"}),
    "not finite": (log("lm", 300, 100, step2=math.nan, step200=math.inf, loss=math.nan, bits_per_byte=math.nan),
                   "Language modelling: held-out loss nan after 300 updates", [LOSS, RATE],
                   {"training, each update", "running median of 35 updates", "held-out", "not finite (2)"}),
    "nothing finite": ([{"step": s, "loss": math.nan} for s in range(3)], "Language modelling: 3 updates", [LOSS],
                       {"training, each update", "not finite (3)"}),
    "classes": (log("classify", 100, 50), "Fine-tuning: held-out accuracy 0.800 after 100 updates",
                [CLASSES, ACCURACY, LM, RATE],
                {"training, each update", "running median of 21 updates", "held-out, best 0.500 after 50",
                 "held-out, best 0.800 after 100", "always the most frequent label (0.6)",
                 "held-out, best 4.100 after 50"}),
    "scores": (log("similarity", 100, 100), "Fine-tuning: held-out correlation 0.400 after 100 updates",
               [SCORES, CORRELATION, LM, RATE],
               {"training, each update", "running median of 21 updates", "held-out", "no correlation (0)"}),
    "constant scores": (log("similarity", 3, 3, pearson=math.nan),
                        "Fine-tuning: held-out correlation nan after 3 updates", [SCORES, CORRELATION, LM, RATE],
                        {"training, each update", "held-out", "no correlation (0)"}),
    "a task without evaluation": (log("classify", 3), "Fine-tuning: 3 updates", [CLASSES, LM, RATE],
                                  {"training, each update"}),
}  # fmt: skip


@pytest.fixture
def figures(monkeypatch):
    """The figures that are written, laid out."""
    written, savefig = [], Figure.savefig

    def save(figure, *arguments, **settings):
        savefig(figure, *arguments, **settings)
        written.append(figure)

    monkeypatch.setattr(Figure, "savefig", save)
    return written


@pytest.mark.parametrize("case", PICTURES)
def test_curves(case, figures, tmp_path):
    records, title, labels, names = PICTURES[case]
    before = dict(mpl.rcParams)
    plot(records, tmp_path / "curve.png")
    assert dict(mpl.rcParams) == before  # nor its backend
    width, height = struct.unpack(">II", (tmp_path / "curve.png").read_bytes()[16:24])
    (figure,) = figures
    assert (width, height) == tuple((figure.get_size_inches() * 120).round())
    assert figure.get_suptitle() == title
    panels = figure.axes
    assert [axis.get_ylabel() for axis in panels] == labels
    assert panels[-1].get_xlabel() == "updates"
    assert {text.get_text() for axis in panels if axis.get_legend() for text in axis.get_legend().get_texts()} == names
    for axis in panels:
        window, legend = axis.get_window_extent(), axis.get_legend()
        assert window.width > 0.7 * figure.bbox.width
        if legend:
            found = legend.get_window_extent()
            assert found.y0 >= window.y1 - 1, "the legend covers data"
            assert figure.bbox.x0 <= found.x0 < found.x1 <= figure.bbox.x1
            assert all(found.y1 <= other.get_window_extent().y0 for other in panels[: panels.index(axis)])


def test_raw_losses_are_pale_behind_smoothed_ones(figures, tmp_path):
    plot(log("lm", 300, 100), tmp_path / "curve.png")
    raw, smoothed, held_out = figures[0].axes[0].lines
    assert raw.get_linewidth() < smoothed.get_linewidth()
    grey = [np.dot(to_rgb(line.get_color()), (0.299, 0.587, 0.114)) for line in (raw, smoothed, held_out)]
    assert grey[0] > grey[2] + 0.2 > grey[1] + 0.3
    assert held_out.get_marker() == "o"
    assert list(held_out.get_xdata()) == [100, 200, 300]  # updates done
    assert np.ptp(smoothed.get_ydata()[-100:]) < np.ptp(raw.get_ydata()[-100:]) / 4
    (bits,) = figures[0].axes[0].child_axes
    assert bits.get_ylabel() == "bits per byte of the held-out text"
    assert np.divide(bits.get_ylim(), figures[0].axes[0].get_ylim()) == pytest.approx([1.4 / 4.2] * 2)


def test_outliers_do_not_flatten_the_others(figures, tmp_path):
    records = log("lm", 300, step2=900.0, step200=80.0)
    plot(records, tmp_path / "curve.png")
    low, high = figures[0].axes[0].get_ylim()
    assert 3 < low < 4
    assert 7 < high < 11
    assert max(map(float, re.findall(r"^ *(\d+\.\d+)┤", draw(records), re.MULTILINE))) < 11


def test_the_baseline_is_a_dashed_line_within_the_limits(figures, tmp_path):
    plot(log("classify", 100, 50), tmp_path / "curve.png")
    axis = figures[0].axes[1]
    (line,) = [line for line in axis.lines if line.get_linestyle() == "--"]
    assert axis.get_ylim()[0] < line.get_ydata()[0] == 0.6


def test_a_style_of_the_program_changes_nothing(tmp_path):
    plot(log("lm", 3), tmp_path / "plain.png")
    with mpl.rc_context({"axes.facecolor": "black", "text.color": "white", "font.size": 30, "savefig.dpi": 10}):
        plot(log("lm", 3), tmp_path / "styled.png")
    assert (tmp_path / "styled.png").read_bytes() == (tmp_path / "plain.png").read_bytes()
    plot(log("lm", 3), tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize("case", PICTURES)
def test_curves_in_a_terminal(case):
    records, _, labels, names = PICTURES[case]
    lines = draw(records, width=72).split("\n")
    assert max(map(len, lines)) <= 72
    assert lines[0].strip().startswith("task loss: " if "task" in labels[0] else "loss, nats per token: ")
    assert ("held-out (o)" in lines[0]) == any(name.startswith("held-out") for name in names)
    finite = case != "not finite" and "held-out (o)" in lines[0]
    assert finite == any(re.search("[│┤].*o", line) for line in lines)


class Tracked(np.ndarray):
    """Like a PyTorch tensor that requires a gradient."""

    def __array__(self, *arguments, **settings):
        raise RuntimeError("detach it first")

    def detach(self):
        return np.array(self.view(np.ndarray))


def test_attentions_of_other_layers(figures, tmp_path):
    weights = np.full((1, 2, 3, 3), 0.25)
    plot_attentions([weights.view(Tracked)], list("abc"), tmp_path / "attention.svg", first_layer=6)
    assert [axis.get_title() for axis in figures[0].axes[:2]] == ["layer 6, head 1", "layer 6, head 2"]
    for wrong in (weights[0, 0], np.concatenate([weights, weights]), weights[..., :2]):
        with pytest.raises(InputError, match=r"must have shape \(heads, 3, 3\) or .* for 3 tokens; got"):
            plot_attentions([wrong], list("abc"), tmp_path / "wrong.svg")


def test_attentions(figures, tmp_path):
    weights = np.tril(np.full((1, 3, 4, 4), 0.25))
    plot_attentions([weights, weights[0]], list("abcd"), tmp_path / "attention.png", marked=[(1, 3, 1)])
    (figure,) = figures
    *maps, bar = figure.axes
    assert [axis.get_title() for axis in maps] == [f"layer {i}, head {j}" for i in (1, 2) for j in (1, 2, 3)]
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("key token", "query token")
    assert bar.get_ylabel() == "attention weight (a row adds up to 1)"
    assert [label.get_text() for label in maps[3].get_xticklabels()] == list("abcd")
    assert [label.get_text() for label in maps[3].get_yticklabels()] == list("abcd")
    assert {axis.images[0].get_clim() for axis in maps} == {(0, 1)}
    assert [[tuple(line.get_xydata()[0]) for line in axis.lines] for axis in maps] == [[]] * 3 + [[(1, 3)]] * 3
