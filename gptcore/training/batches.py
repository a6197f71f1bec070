"""Batches that are the same in every framework; each can be computed without those before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gptcore.backends.training import Batch
from gptcore.errors import DataError
from gptcore.spec.inputs import IGNORED_LABEL
from gptcore.spec.random_numbers import threefry

WINDOW = 50  # number of batches whose examples are sorted by length together, as in transformers

Example = Mapping[str, NDArray[Any]]


class Source(Protocol):
    """Examples by index; PyTorch's loaders and grain also accept such a source."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


def permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of ``count`` examples in an epoch, sorted by a random number that is a function of the index.

    So each epoch can be computed by itself, and does not depend on the version of a library.

    >>> permutation(0, 0, 5).tolist(), permutation(0, 1, 5).tolist()
    ([1, 2, 0, 4, 3], [0, 1, 2, 4, 3])
    """
    counters = np.arange(count, dtype=np.uint32)
    high, low = threefry((seed, epoch), counters, np.zeros_like(counters))
    return np.argsort(high.astype(np.uint64) << np.uint64(32) | low.astype(np.uint64), kind="stable")


def by_length(
    order: NDArray[np.int64], lengths: NDArray[np.int64], batch_size: int, turn: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Reorder examples so that those in a batch have similar lengths.

    Args:
        order: Indices of examples in random order.
        lengths: Lengths of all examples.
        batch_size: Number of examples per batch.
        turn: Order of the batches, one entry per full batch of ``order``.

    Returns:
        The same indices. Those that do not fill a batch, the shortest of the last window, come last.

    >>> by_length(np.arange(7), np.array([4, 9, 3, 9, 5, 3, 2]), 2, np.array([2, 0, 1])).tolist()
    [2, 5, 1, 3, 4, 0, 6]
    """
    windows = np.split(order, range(WINDOW * batch_size, len(order), WINDOW * batch_size))
    ordered = np.concatenate([window[np.argsort(-lengths[window], kind="stable")] for window in windows])
    filled = len(turn) * batch_size
    return np.concatenate([ordered[:filled].reshape(-1, batch_size)[turn].ravel(), ordered[filled:]])


def stack(examples: Sequence[Example]) -> Batch:
    """Stack examples of the same shape to a batch."""
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


class Batches:
    """An endless sequence of batches, indexed by step.

    A batch may span two epochs, so all batches have the same size. Each example occurs once per epoch.

    Args:
        source: The examples.
        batch_size: Number of examples per batch.
        seed: Random seed of the order, in [0, 2**32).
        collate: Function from a list of examples to a batch. Default: ``stack``.
        lengths: Length of each example, to batch examples of similar length, which reduces padding. Default: ``None``,
            batches at random.

    Raises:
        DataError: There are no examples, or ``lengths`` does not have one entry per example.

    >>> examples = [{"input_ids": np.array([i])} for i in range(5)]
    >>> batches = Batches(examples, 2, seed=0)
    >>> [batches[step]["input_ids"].ravel().tolist() for step in range(5)]
    [[1, 2], [0, 4], [3, 0], [1, 2], [4, 3]]
    """

    def __init__(
        self,
        source: Source,
        batch_size: int,
        *,
        seed: int,
        collate: Callable[[Sequence[Any]], Batch] = stack,
        lengths: Sequence[int] | None = None,
    ) -> None:
        if not len(source):
            raise DataError("the dataset must have at least one example; got none.")
        if lengths is not None and len(lengths) != len(source):
            raise DataError(f"lengths must have one entry per example, {len(source)} in all; got {len(lengths)}.")
        self.source, self.batch_size, self.seed, self.collate = source, batch_size, seed, collate
        self.lengths = None if lengths is None else np.asarray(lengths, np.int64)
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def __getitem__(self, step: int) -> Batch:
        places = range(step * self.batch_size, (step + 1) * self.batch_size)
        return self.collate([self.source[self._index(place)] for place in places])

    def _index(self, place: int) -> int:
        epoch, index = divmod(place, len(self.source))
        if self._order is None or self._order[0] != epoch:
            self._order = (epoch, self._order_of(epoch))
        return int(self._order[1][index])

    def _order_of(self, epoch: int) -> NDArray[np.int64]:
        order = permutation(self.seed, epoch, len(self.source))
        if self.lengths is None:
            return order
        begun = -epoch * len(order) % self.batch_size  # these complete the last batch of the previous epoch
        turn = permutation(self.seed, epoch, len(order[begun:]) // self.batch_size)
        return np.concatenate([order[:begun], by_length(order[begun:], self.lengths, self.batch_size, turn)])


def once(source: Source, batch_size: int, collate: Callable[[Sequence[Any]], Batch] = stack) -> list[Batch]:
    """Batch all examples once, in order, for evaluation; the last batch may be smaller."""
    starts = range(0, len(source), batch_size)
    return [collate([source[i] for i in range(start, min(start + batch_size, len(source)))]) for start in starts]


def micro_batches(batch: Batch, size: int | None) -> list[Batch]:
    """Split a batch into parts of ``size`` rows; ``None`` for a single part.

    >>> [part["x"].tolist() for part in micro_batches({"x": np.arange(4)}, 2)]
    [[0, 1], [2, 3]]
    """
    rows = len(next(iter(batch.values())))
    starts = range(0, rows, size or rows)
    return [{name: array[start : start + (size or rows)] for name, array in batch.items()} for start in starts]


def counts(batch: Batch) -> dict[str, int]:
    """The number of predictions that each loss of a batch averages; ignored labels and targets do not count.

    >>> counts({"labels": np.array([[7, 8, 9]]), "targets": np.array([1, -100])})
    {'lm_loss': 2, 'task_loss': 1}
    """
    tokens = int((batch["labels"][..., 1:] != IGNORED_LABEL).sum())
    targets = batch.get("targets")
    if targets is None:
        return {"lm_loss": tokens}
    is_class = targets.dtype.kind in "iu"
    return {"lm_loss": tokens, "task_loss": int((targets != IGNORED_LABEL).sum()) if is_class else len(targets)}


def shares(part: Batch, whole: Batch) -> dict[str, float]:
    """The weight of each loss of a part of a batch: the weighted sum over all parts is the loss of the whole batch.

    A mean over tokens is weighted by its tokens, a mean over examples by its examples.

    >>> whole = {"labels": np.array([[7, 8, 9], [7, 8, -100]])}
    >>> [shares(part, whole) for part in micro_batches(whole, 1)]
    [{'lm_loss': 0.6666666666666666}, {'lm_loss': 0.3333333333333333}]
    """
    all_counts = counts(whole)
    return {name: count / max(all_counts[name], 1) for name, count in counts(part).items()}


def objective(losses: Mapping[str, Any], lm_coefficient: float) -> Any:
    """The training objective, from scalars of any framework.

    The language-modelling loss or, with a task, ``task_loss + lm_coefficient * lm_loss`` (equation 5 of the paper).
    """
    if "task_loss" in losses:
        return losses["task_loss"] + lm_coefficient * losses["lm_loss"]
    return losses["lm_loss"]
