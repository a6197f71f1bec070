"""What ``gptcore eval`` prints for people."""

import numpy as np
import pytest

from gptcore.cli.report import print_report
from gptcore.training import Evaluation
from gptcore.training.evaluation import task_metrics

LONG = [f"a label of [red]{number}[/] words" for number in range(5)]


def classified(labels, wrong=()):
    """Three examples of each class, right but for pairs (true, predicted)."""
    pairs = [(i, i) for i in range(len(labels)) for _ in range(3)] + list(wrong)
    targets, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    outputs = np.eye(len(labels))[predicted]
    return Evaluation({"task_loss": 0.5, **task_metrics(outputs, targets)}, 0.0, outputs, targets)


def shown(capsys, monkeypatch, width, *arguments):
    monkeypatch.setenv("COLUMNS", str(width))
    print_report(*arguments)
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    ("labels", "wrong", "parts"),
    [
        (["no", "yes"], [(1, 0)], ["label, yes.", "F1 of yes", "6 of 7 examples", "│ yes │ 1 │ 3 │"]),
        (
            LONG,
            [(4, 0)],
            ["macro F1", f"frequent label, {LONG[4]}.", "15 of 16 examples", f"│ 4 {LONG[4]} │ 1 │ 0 │ 0 │ 0 │ 3 │"],
        ),
        (
            [f"label{i}" for i in range(60)],
            [(8, 3), (8, 3), (1, 0)],
            ["most frequent confusions", "│ label8 │ label3 │ 2 │", "│ label1 │ label0 │ 1 │"],
        ),
    ],
    ids=["two", "long", "many"],
)
def test_classes(capsys, monkeypatch, width, labels, wrong, parts):
    out = shown(capsys, monkeypatch, width, classified(labels, wrong), "classify: [/x], 7 examples", labels)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "classify: [/x], 7 examples"
    assert max(len(line) for line in out.splitlines() if "baseline" not in line) <= width
    for part in parts:
        assert any(part in line for line in lines), (part, out)


def test_scores_and_language_models(capsys, monkeypatch):
    outputs, targets = np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 4.5], np.float32)
    found = Evaluation({"task_loss": 0.75, **task_metrics(outputs, targets)}, 0.0, outputs, targets)
    rows = [line.split() for line in shown(capsys, monkeypatch, 80, found, "similarity").splitlines()]
    assert rows[1] == ["metric", "model", "baseline", "unit"]
    assert rows[2][:4] == ["Pearson", "correlation", "0.9707", "-"]
    assert rows[4][:5] == ["mean", "squared", "error", "0.7500", "2.1667"]
    assert rows[-1][-3:] == ["mean", "score,", "2.5000."]
    found = Evaluation({"loss": 2.0, "perplexity": 7.389, "bits_per_byte": 1.25}, -2.0)
    out = shown(capsys, monkeypatch, 80, found, "lm")
    assert [line.split()[-1] for line in out.splitlines()[1:]] == ["unit", "token", "tokens", "text"]
    assert "1.2500  bits per byte of UTF-8 text" in out
