"""Arrays as tensors; see ``gptcore.backends.ToTensor``."""

from typing import Any

import jax
import jax.numpy as jnp
from numpy.typing import NDArray


def to_tensor(array: NDArray[Any]) -> jax.Array:
    """The tensor of an array, on the default device."""
    return jnp.asarray(array)
