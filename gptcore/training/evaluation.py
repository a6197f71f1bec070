"""How good a model is: the loss and perplexity of a corpus, the metrics of a task (scikit-learn's)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.backends.training import Batch, Trainer
from gptcore.training.batches import counts
from gptcore.training.run import Evaluation


def mean_losses(trainer: Trainer, batches: Sequence[Batch]) -> tuple[dict[str, float], list[NDArray[Any]]]:
    """The mean of each loss over all predictions of all batches, in float64, and the logits of each batch."""
    sums: dict[str, float] = {}
    totals: dict[str, int] = {}
    logits = []
    for batch in batches:
        found = trainer.evaluate(batch)
        for name, count in counts(batch).items():
            sums[name] = sums.get(name, 0.0) + float(found[name]) * count
            totals[name] = totals.get(name, 0) + count
        if "logits" in found:
            logits.append(found["logits"])
    return {name: total / max(totals[name], 1) for name, total in sums.items()}, logits


def evaluate_lm(trainer: Trainer, batches: Sequence[Batch], bytes_per_token: float, tokens: int = 0) -> Evaluation:
    """Loss per token, perplexity, and bits per byte of the text, which compares vocabularies; the lower the better.

    The first token of a block, which nothing is before, counts as much as the mean of the others.
    """
    losses, _ = mean_losses(trainer, batches)
    loss = losses["lm_loss"]
    bits_per_byte = loss / math.log(2) / bytes_per_token
    metrics = {"loss": loss, "perplexity": math.exp(min(loss, 700.0)), "bits_per_byte": bits_per_byte}
    return Evaluation(metrics, -loss, count=tokens)


def evaluate_task(trainer: Trainer, batches: Sequence[Batch]) -> Evaluation:
    """The losses and metrics of a task; accuracy, or Pearson's correlation for scores, is the score."""
    losses, logits = mean_losses(trainer, batches)
    outputs, targets = np.concatenate(logits), np.concatenate([batch["targets"] for batch in batches])
    metrics = task_metrics(outputs, targets)
    score = metrics["pearson" if "pearson" in metrics else "accuracy"]
    return Evaluation(
        {**losses, **metrics}, score if math.isfinite(score) else -math.inf, outputs, targets, len(targets)
    )


def task_metrics(outputs: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """The metrics of the outputs of a head: of classes or, where each example has a single output, of scores."""
    return regression_metrics(outputs[:, 0], targets) if outputs.shape[1] == 1 else class_metrics(outputs, targets)


def baseline(outputs: NDArray[Any], targets: NDArray[Any]) -> tuple[float, dict[str, float]]:
    """The best answer that is the same for every example, and its metrics: what a model must exceed to be of use.

    Returns:
        The commonest class (the first of several), or the mean of the scores; and the metrics of ``task_metrics``. With
        scores, ``task_loss`` is among them, the variance.

    >>> baseline(np.zeros((3, 2)), np.array([0, 1, 1]))[1]["accuracy"]
    0.6666666666666666
    """
    if outputs.shape[1] == 1:
        constant = np.full(outputs.shape, targets.mean(dtype=np.float64))
        return float(constant[0, 0]), {"task_loss": float(np.var(targets, dtype=np.float64))} | task_metrics(
            constant, targets
        )
    commonest = int(np.bincount(targets).argmax())
    return commonest, task_metrics(np.tile(np.eye(outputs.shape[1])[commonest], (len(targets), 1)), targets)


def confusion(outputs: NDArray[Any], targets: NDArray[Any]) -> NDArray[np.int64]:
    """How many examples of each class (row) the model takes for each class (column).

    >>> confusion(np.array([[1, 0], [0, 1], [0, 1.0]]), np.array([0, 1, 0])).tolist()
    [[1, 1], [0, 1]]
    """
    table = np.zeros((outputs.shape[1],) * 2, np.int64)
    np.add.at(table, (targets, outputs.argmax(-1)), 1)
    return table


def class_metrics(logits: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """Accuracy, F1 (of class 1 where there are two, else the mean over the classes) and Matthews' correlation.

    ``baseline`` is the accuracy of always answering the most frequent label of these targets.

    >>> found = class_metrics(np.array([[1, 0], [0, 1], [0, 1.0], [1, 0]]), np.array([0, 1, 0, 0]))
    >>> found["accuracy"], found["baseline"]
    (0.75, 0.75)
    """
    from sklearn import metrics  # slow to import, and of no use to a model

    predicted = logits.argmax(-1)
    average = "binary" if logits.shape[1] == 2 else "macro"
    return {
        "accuracy": float(metrics.accuracy_score(targets, predicted)),
        "f1": float(metrics.f1_score(targets, predicted, average=average, zero_division=0)),
        "matthews": float(metrics.matthews_corrcoef(targets, predicted)),
        "baseline": float(np.bincount(targets).max() / len(targets)),
    }


def regression_metrics(scores: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """Pearson's and Spearman's correlation; not a number where all scores are the same.

    >>> round(regression_metrics(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0]))["pearson"], 6)
    1.0
    """
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of constant scores
        return {
            "pearson": float(stats.pearsonr(scores, targets).statistic),
            "spearman": float(stats.spearmanr(scores, targets).statistic),
        }
