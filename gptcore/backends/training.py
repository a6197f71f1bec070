"""The protocols of training, used by the loop and the commands: ``Trainer``, and a function that loads one."""

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
    """Number of processes that train together. Default: 1, if the trainer has no such attribute."""

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """Update the weights once.

        Args:
            step: Number of the update, from 0; determines the learning rate and the dropout.
            batch: The whole batch, the same in every process; each process uses its own rows.

        Returns:
            ``loss``, ``lm_loss``, ``task_loss`` if there is a task, ``grad_norm`` (before clipping) and
            ``learning_rate``.
        """
        ...

    def evaluate(self, batch: Batch) -> dict[str, NDArray[Any]]:
        """Compute, without dropout, ``lm_loss`` () and, if there is a task, ``task_loss`` () and ``logits`` (B, K)."""
        ...

    def weights(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield the canonical name and the value of every parameter, in float32 on the host."""
        ...

    def moments(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield ``exp_avg.NAME`` and ``exp_avg_sq.NAME`` of every parameter, in canonical shapes.

        They are zeros before the first update.
        """
        ...

    def restore(self, step: int, weights: Named, moments: Named) -> None:
        """Continue after ``step`` updates with these weights and moments, which may come from another framework."""
        ...


class LoadTrainer(Protocol):
    """The function that an entry point of ``gptcore.trainers`` names."""

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
        """Load a model for training, on the devices and processes that this process was started with.

        Args:
            source: A checkpoint, or a config for fresh weights, seeded by the recipe.
            head: The head, which selects the model class.
            recipe: The hyperparameters.
            total_steps: Number of updates of the whole run.
            vocab_size: New size of the vocabulary, for tokens that the checkpoint lacks. Default: unchanged.
            config: Settings of the config to change. If the labels differ from the checkpoint's, the head is new.
        """
        ...


def load_trainers(name: str) -> LoadTrainer:
    """Import the function that loads trainers of one framework.

    Raises:
        GPTError: As ``load``.
    """
    function: LoadTrainer = load(TRAINING, name)
    return function
