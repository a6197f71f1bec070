"""Training as the commands know it: a function that loads a model and returns its ``Trainer``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from gptcore.backends.discovery import TRAINING, load
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.spec.recipe import Recipe
from gptcore.training import Trainer


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
