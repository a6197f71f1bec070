"""What decoding asks of a framework: one protocol, in NumPy."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gptcore.generation.config import GenerationConfig
from gptcore.generation.prompt import Ids, Prompt

Logits = NDArray[np.float32]


BUCKET = 64


def bucket(length: int, limit: int) -> int:
    """The size to compile for: the next multiple of 64, so that nearby lengths share one program.

    >>> bucket(5, 512), bucket(64, 512), bucket(65, 100)
    (64, 64, 100)
    """
    return min(-(-length // BUCKET) * BUCKET, limit)


class Stepper(Protocol):
    """A model that keeps its KV cache between calls, as an opaque ``state``."""

    def start(self, input_ids: Ids, attention_mask: NDArray[np.bool_], capacity: int) -> tuple[Logits, Any]:
        """Read prompts.

        Args:
            input_ids: (B, T).
            attention_mask: (B, T); each row has a token.
            capacity: how many columns there will be at the most, prompt and continuation together.

        Returns:
            The logits (B, V) behind the last real token of each row, and the state.
        """
        ...

    def step(self, tokens: Ids, state: Any) -> tuple[Logits, Any]:
        """Read one more token of each row, (B,); returns the logits (B, V) behind it, and the new state."""
        ...

    def hidden_states(self, state: Any) -> NDArray[np.float32]:
        """What the trunk gave for the tokens read last, (B, T or more, C)."""
        ...

    def reordered(self, state: Any, rows: Ids) -> Any:
        """A state whose row i is what row ``rows[i]`` was; rows may repeat."""
        ...


class DeviceStepper(Stepper, Protocol):
    """One that also has the whole loop, as a program that never leaves the device."""

    def continued(self, config: GenerationConfig, prompt: Prompt) -> Ids:
        """The new ids (B, N) by greedy search or sampling, N at most ``prompt.max_new_tokens``.

        -1 where no token can be chosen; the loop goes on, as it never waits for the host.
        """
        ...


class Uncached:
    """A ``Stepper`` that reads all tokens again for each new one, over one that keeps a cache: ``use_cache=False``."""

    def __init__(self, stepper: Stepper) -> None:
        self.stepper = stepper

    def start(self, input_ids: Ids, attention_mask: NDArray[np.bool_], capacity: int) -> tuple[Logits, Any]:
        logits, state = self.stepper.start(input_ids, attention_mask, input_ids.shape[1])
        return logits, (input_ids, attention_mask, self.stepper.hidden_states(state))

    def step(self, tokens: Ids, state: Any) -> tuple[Logits, Any]:
        input_ids, attention_mask, _ = state
        input_ids = np.append(input_ids, tokens[:, None], axis=1)
        attention_mask = np.append(attention_mask, np.ones((len(tokens), 1), bool), axis=1)
        logits, (*_, hidden_states) = self.start(input_ids, attention_mask, 0)
        last = input_ids.shape[1] - 1
        return logits, (input_ids, attention_mask, hidden_states[:, last : last + 1])

    def hidden_states(self, state: Any) -> NDArray[np.float32]:
        hidden_states: NDArray[np.float32] = state[-1]
        return hidden_states

    def reordered(self, state: Any, rows: Ids) -> Any:
        return tuple(x[rows] for x in state)
