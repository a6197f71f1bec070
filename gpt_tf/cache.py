"""The KV cache: a value with a fixed number of slots, passed in and returned."""

from typing import NamedTuple, Self

import keras
import tensorflow as tf

from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import CacheInfo, cache_length, check_capacity


class KVCache(NamedTuple):
    """Keys and values of the tokens so far.

    A call returns a cache with the new tokens after the filled slots. The shapes never change, so that graphs are
    traced once.

    Inside a compiled program, the number of filled slots is unknown and cannot be checked: tokens beyond the capacity
    overwrite the last slots.

    Attributes:
        keys, values: One (B, H, N, D) per layer, with N slots.
        attended: (B, N) bool, true for slots that hold a token and not padding; ``None`` if no filled slot is padding.
        length: () int32, number of filled slots.

    >>> cache = KVCache.empty(OpenAIGPTConfig(n_embd=6, n_layer=1, n_head=2), batch_size=1, capacity=8)
    >>> cache.keys[0].shape, int(cache.length)
    (TensorShape([1, 2, 8, 3]), 0)
    """

    keys: tuple[tf.Tensor, ...]
    values: tuple[tf.Tensor, ...]
    attended: tf.Tensor | None
    length: tf.Tensor

    @classmethod
    def empty(
        cls,
        config: OpenAIGPTConfig,
        batch_size: int | tf.Tensor,
        capacity: int | None = None,
        dtype: str | tf.DType = tf.float32,
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
        slots = [tf.zeros(shape, dtype) for _ in range(2 * config.n_layer)]
        return cls(tuple(slots[::2]), tuple(slots[1::2]), None, tf.zeros((), tf.int32))

    @property
    def capacity(self) -> int:
        """Number of slots."""
        return self.keys[0].shape[2]

    def info(self) -> CacheInfo:
        """What the input checks need to know."""
        traced = tf.is_tensor(self.length) and not isinstance(self.length, tf.__internal__.EagerTensor)
        length = None if traced else cache_length(self.length)
        batch, heads, _, size = self.keys[0].shape
        return CacheInfo(batch, self.capacity, length, (len(self.keys), heads, size), self.keys[0].dtype.name)

    def extended(self, attention_mask: tf.Tensor | None, length: int | tf.Tensor) -> Self:
        """The cache with ``length`` more filled slots, masked by the last ``length`` columns of ``attention_mask``."""
        attended, batch = self.attended, tf.shape(self.keys[0])[0]
        slot = tf.range(self.capacity)
        if attended is None and attention_mask is not None:
            attended = tf.broadcast_to(slot < self.length, (batch, self.capacity))
        if attended is not None:
            new = tf.ones((batch, length), tf.bool)
            if attention_mask is not None:
                new = tf.cast(attention_mask[:, tf.shape(attention_mask)[1] - length :], tf.bool)
            attended = keras.ops.slice_update(attended, (0, self.length), new)
        return self._replace(attended=attended, length=self.length + length)

    def reordered(self, rows: tf.Tensor) -> Self:
        """The cache whose row i is row ``rows[i]`` of this one; ``rows`` (R,) may repeat."""
        return self._replace(
            keys=tuple(tf.gather(x, rows) for x in self.keys),
            values=tuple(tf.gather(x, rows) for x in self.values),
            attended=None if self.attended is None else tf.gather(self.attended, rows),
        )


def write(slots: tf.Tensor, new: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Put ``new`` (B, T, H, D) into the last T of ``length`` filled slots (B, H, N, D); returns all slots."""
    return keras.ops.slice_update(slots, (0, 0, length - tf.shape(new)[1], 0), keras.ops.swapaxes(new, 1, 2))
