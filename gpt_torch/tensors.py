"""Arrays as tensors; see ``gptcore.backends.ToTensor``."""

from typing import Any

import torch
from numpy.typing import NDArray


def to_tensor(array: NDArray[Any]) -> torch.Tensor:
    """The tensor of an array, on the default device."""
    return torch.from_numpy(array)
