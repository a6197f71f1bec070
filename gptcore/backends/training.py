"""Training as the loop and the commands know it: a ``Trainer``, and a function that loads one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from gptcore.backends.discovery import TRAINING, load
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.spec.recipe import Recipe

Batch = dict[str, NDArray[Any]]
Named = Iterable[tuple[str, NDArray[Any]]]


class Trainer(Protocol):
    """A model with its optimizer. All processes of a run call the same methods in the same order."""

    config: OpenAIGPTConfig
    head: Head
    is_main: bool
    """Whether this process writes files; the others only compute."""
    processes: int
    """How many processes train together; 1 where a trainer does not say."""

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Update the weights by one batch.

        Args:
            step: from 0; decides the learning rate and the dropout.
            batch: all of it, in every process; a process takes its own rows.

        Returns:
            ``loss``, ``lm_loss``, ``task_loss`` where there is a task, ``grad_norm`` (before clipping) and
            ``learning_rate``.
        """
        ...

    def evaluate(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Without dropout: ``lm_loss`` () and, where there is a task, ``task_loss`` () and ``logits`` (B, K)."""
        ...

    def weights(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Canonical name and value of every parameter, float32, on the host."""
        ...

    def moments(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """``exp_avg.NAME`` and ``exp_avg_sq.NAME`` of every parameter, in canonical shapes; zeros before step 0."""
        ...

    def restore(self, step: int, weights: Named, moments: Named) -> None:
        """Go on as if ``step`` updates had led to these weights and moments, in whichever framework they were made."""
        ...


class LoadTrainer(Protocol):
    """What an entry point of ``gptcore.trainers`` names: a function."""

    def __call__(
        self,
        source: str | Path | OpenAIGPTConfig,
        head: Head,
        recipe: Recipe,
        total_steps: int,
        *,
        vocab_size: int | None = None,
        **config: Any,
    ) -> Trainer:
        """A model in training, on the devices and processes that this process was started with.

        Args:
            source: A checkpoint, or a config for fresh weights, seeded by the recipe.
            head: Which model.
            recipe: Hyperparameters.
            total_steps: Updates of the whole run.
            vocab_size: Resizes the vocabulary, for tokens that the checkpoint lacks. Default: unchanged.
            config: Settings to change. If they name other labels than the checkpoint, the head is fresh.
        """
        ...


def load_trainers(name: str) -> LoadTrainer:
    """Import the training of one framework.

    Raises:
        GPTError: as ``load``.
    """
    function: LoadTrainer = load(TRAINING, name)
    return function
