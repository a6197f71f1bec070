"""``Stepper``: the protocol, in NumPy, that a framework implements for decoding on the host."""

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
        """Run the model on prompts.

        Args:
            input_ids: Token ids, (B, T).
            attention_mask: Mask, (B, T); each row attends to at least one token.
            capacity: The maximum number of columns of prompt and continuation together.

        Returns:
            The logits (B, V) after the last real token of each row, and the state.
        """
        ...

    def step(self, tokens: Ids, state: Any) -> tuple[Logits, Any]:
        """Run the model on one more token per row, (B,); returns the next logits (B, V) and the new state."""
        ...

    def hidden_states(self, state: Any) -> NDArray[np.float32]:
        """The trunk's output for the tokens of the last call, (B, T or more, C)."""
        ...

    def reordered(self, state: Any, rows: Ids) -> Any:
        """Return a state whose row i is the old row ``rows[i]``; rows may repeat."""
        ...


class DeviceStepper(Stepper, Protocol):
    """A ``Stepper`` that can also run the whole loop as a program on the device."""

    def continued(self, config: GenerationConfig, prompt: Prompt) -> Ids:
        """Generate new ids (B, N) by greedy search or sampling, with N at most ``prompt.max_new_tokens``.

        An id is -1 where no token can be selected. The loop then continues, because it never waits for the host.
        """
        ...


class Uncached:
    """A wrapper for ``use_cache=False``: it runs a ``Stepper`` on all tokens again for each new one."""

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
