"""Conversion of arrays to a framework's tensors, for tokenizers: imports the framework and nothing else."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from gptcore.backends.discovery import TENSORS, load


class ToTensor(Protocol):
    """The function that an entry point of ``gptcore.tensors`` names."""

    def __call__(self, array: NDArray[Any]) -> Any:
        """Convert an array to a tensor on the framework's default device."""
        ...


def load_tensors(name: str) -> ToTensor:
    """Import the conversion function of one framework.

    Raises:
        GPTError: As ``load``.
    """
    function: ToTensor = load(TENSORS, name)
    return function
