"""Arrays as tensors; see ``gptcore.backends.ToTensor``."""

import torch


def to_tensor(array):
    """The tensor of an array, on the default device."""
    return torch.from_numpy(array)
