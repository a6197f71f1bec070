"""Evaluation of a model: loss and perplexity on a corpus, and the metrics of a task (scikit-learn's)."""

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
    """Compute the mean of each loss over all predictions of all batches, in float64, and the logits of each batch."""
    sums: dict[str, float] = {}
    totals: dict[str, int] = {}
    logits = []
    for batch in batches:
        results = trainer.evaluate(batch)
        for name, count in counts(batch).items():
            sums[name] = sums.get(name, 0.0) + float(results[name]) * count
            totals[name] = totals.get(name, 0) + count
        if "logits" in results:
            logits.append(results["logits"])
    return {name: total / max(totals[name], 1) for name, total in sums.items()}, logits


def evaluate_lm(trainer: Trainer, batches: Sequence[Batch], bytes_per_token: float, tokens: int = 0) -> Evaluation:
    """Compute loss per token, perplexity, and bits per byte, which is comparable between vocabularies.

    The first token of a block has no context; for bits per byte, it is assumed to have the mean loss of the others.
    """
    losses, _ = mean_losses(trainer, batches)
    loss = losses["lm_loss"]
    bits_per_byte = loss / math.log(2) / bytes_per_token
    metrics = {"loss": loss, "perplexity": math.exp(min(loss, 700.0)), "bits_per_byte": bits_per_byte}
    return Evaluation(metrics, -loss, count=tokens)


def evaluate_task(trainer: Trainer, batches: Sequence[Batch]) -> Evaluation:
    """Compute the losses and metrics of a task. The score is accuracy or, for regression, Pearson's correlation."""
    losses, logits = mean_losses(trainer, batches)
    outputs, targets = np.concatenate(logits), np.concatenate([batch["targets"] for batch in batches])
    metrics = task_metrics(outputs, targets)
    score = metrics["pearson" if "pearson" in metrics else "accuracy"]
    return Evaluation(
        {**losses, **metrics}, score if math.isfinite(score) else -math.inf, outputs, targets, len(targets)
    )


def task_metrics(outputs: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """Compute the metrics of classes or, if each example has a single output, of scores."""
    return regression_metrics(outputs[:, 0], targets) if outputs.shape[1] == 1 else class_metrics(outputs, targets)


def baseline(outputs: NDArray[Any], targets: NDArray[Any]) -> tuple[float, dict[str, float]]:
    """Compute the best constant prediction and its metrics, which a useful model must beat.

    Returns:
        The most frequent class (the first of several) or the mean score, and the metrics of ``task_metrics``. For
        scores, these include ``task_loss``, the variance.

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
    """Count the examples of each true class (row) by predicted class (column).

    >>> confusion(np.array([[1, 0], [0, 1], [0, 1.0]]), np.array([0, 1, 0])).tolist()
    [[1, 1], [0, 1]]
    """
    table = np.zeros((outputs.shape[1],) * 2, np.int64)
    np.add.at(table, (targets, outputs.argmax(-1)), 1)
    return table


def class_metrics(logits: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """Compute accuracy, F1 (of class 1 if there are two, else the mean over classes) and Matthews' correlation.

    ``baseline`` is the accuracy of always predicting the most frequent label of these targets.

    >>> found = class_metrics(np.array([[1, 0], [0, 1], [0, 1.0], [1, 0]]), np.array([0, 1, 0, 0]))
    >>> found["accuracy"], found["baseline"]
    (0.75, 0.75)
    """
    from sklearn import metrics  # slow to import, and not needed for training

    predicted = logits.argmax(-1)
    average = "binary" if logits.shape[1] == 2 else "macro"
    return {
        "accuracy": float(metrics.accuracy_score(targets, predicted)),
        "f1": float(metrics.f1_score(targets, predicted, average=average, zero_division=0)),
        "matthews": float(metrics.matthews_corrcoef(targets, predicted)),
        "baseline": float(np.bincount(targets).max() / len(targets)),
    }


def regression_metrics(scores: NDArray[Any], targets: NDArray[Any]) -> dict[str, float]:
    """Compute Pearson's and Spearman's correlation; NaN if all scores are equal.

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
