"""Arrays as tensors; see ``gptcore.backends.ToTensor``."""

from typing import Any

import tensorflow as tf
from numpy.typing import NDArray


def to_tensor(array: NDArray[Any]) -> tf.Tensor:
    """The tensor of an array, on the default device."""
    return tf.convert_to_tensor(array)
