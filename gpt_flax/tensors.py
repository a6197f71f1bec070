"""Arrays as tensors; see ``gptcore.backends.ToTensor``."""

import jax.numpy as jnp


def to_tensor(array):
    """The tensor of an array, on the default device."""
    return jnp.asarray(array)
