"""Arrays as tensors; see ``gptcore.backends.ToTensor``."""

import tensorflow as tf


def to_tensor(array):
    """The tensor of an array, on the default device."""
    return tf.convert_to_tensor(array)
