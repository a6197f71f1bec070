"""Arrays as a framework's tensors, for tokenizers: imports the framework and nothing else."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from gptcore.backends.discovery import TENSORS, load


class ToTensor(Protocol):
    """What an entry point of ``gptcore.tensors`` names: a function."""

    def __call__(self, array: NDArray[Any]) -> Any:
        """Return the framework's tensor of an array, on its default device."""
        ...


def load_tensors(name: str) -> ToTensor:
    """Import the conversion of one framework.

    Raises:
        GPTError: as ``load``.
    """
    function: ToTensor = load(TENSORS, name)
    return function
