"""The KV cache: a value with a fixed number of slots, passed in and returned."""

from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
from jax import export
from jax.typing import DTypeLike

from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import CacheInfo, cache_length, check_capacity


class KVCache(NamedTuple):
    """Keys and values of the tokens so far.

    A call returns a cache with the new tokens after the filled slots. It is a pytree whose shapes never change, so
    that it passes through ``jit``. If you donate the cache that you pass in, XLA writes to the same memory.

    Inside a compiled program, the number of filled slots is unknown and cannot be checked: tokens beyond the capacity
    overwrite the last slots.

    Attributes:
        keys, values: One (B, H, N, D) per layer, with N slots.
        attended: (B, N) bool, true for slots that hold a token and not padding; ``None`` if no filled slot is padding.
        length: () int32, number of filled slots.

    >>> cache = KVCache.empty(OpenAIGPTConfig(n_embd=6, n_layer=1, n_head=2), batch_size=1, capacity=8)
    >>> cache.keys[0].shape, int(cache.length)
    ((1, 2, 8, 3), 0)
    """

    keys: tuple[jax.Array, ...]
    values: tuple[jax.Array, ...]
    attended: jax.Array | None
    length: jax.Array

    @classmethod
    def empty(
        cls,
        config: OpenAIGPTConfig,
        batch_size: int,
        capacity: int | None = None,
        dtype: DTypeLike = jnp.float32,
    ) -> Self:
        """A cache without tokens.

        Args:
            config: The config of the model.
            batch_size: Number of rows: the product of the leading dimensions of the ids.
            capacity: Number of slots, at most ``n_positions``. Default: ``n_positions``.
            dtype: Dtype of keys and values, which must be the one in which the model computes. Default: float32.
        """
        capacity = check_capacity(config, capacity)
        shape = (batch_size, config.n_head, capacity, config.n_embd // config.n_head)
        slots = [jnp.zeros(shape, dtype) for _ in range(2 * config.n_layer)]
        return cls(tuple(slots[::2]), tuple(slots[1::2]), None, jnp.zeros((), jnp.int32))

    @property
    def capacity(self) -> int:
        """Number of slots."""
        return self.keys[0].shape[2]

    def info(self) -> CacheInfo:
        """What the input checks need to know."""
        length = None if isinstance(self.length, jax.core.Tracer) else cache_length(self.length)
        batch, heads, capacity, size = known(self.keys[0].shape)
        return CacheInfo(batch, capacity, length, (len(self.keys), heads, size), self.keys[0].dtype.name)

    def extended(self, attention_mask: jax.Array | None, length: int) -> Self:
        """The cache with ``length`` more filled slots, masked by the last ``length`` columns of ``attention_mask``."""
        attended, batch = self.attended, self.keys[0].shape[0]
        if attended is None and attention_mask is not None:
            attended = jnp.broadcast_to(jnp.arange(self.capacity) < self.length, (batch, self.capacity))
        if attended is not None:
            new = jnp.ones((batch, length), bool) if attention_mask is None else attention_mask[:, -length:] != 0
            attended = jax.lax.dynamic_update_slice_in_dim(attended, new, self.length, axis=1)
        return self._replace(attended=attended, length=self.length + length)

    def reordered(self, rows: jax.Array) -> Self:
        """The cache whose row i is row ``rows[i]`` of this one; ``rows`` (R,) may repeat."""
        return self._replace(
            keys=tuple(x[rows] for x in self.keys),
            values=tuple(x[rows] for x in self.values),
            attended=None if self.attended is None else self.attended[rows],
        )


export.register_namedtuple_serialization(KVCache, serialized_name=f"{__name__}.KVCache")


def known(shape: tuple[Any, ...]) -> tuple[int | None, ...]:
    """The sizes, ``None`` for those that are symbols in ``jax.export``."""
    return tuple(size if isinstance(size, int) else None for size in shape)


def write(slots: jax.Array, new: jax.Array, length: jax.Array) -> jax.Array:
    """Put ``new`` (B, T, H, D) into the last T of ``length`` filled slots (B, H, N, D); returns all slots."""
    return jax.lax.dynamic_update_slice_in_dim(slots, new.swapaxes(1, 2), length - new.shape[1], axis=2)
