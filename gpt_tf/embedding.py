"""The embedding layer, with a dense gradient.

TensorFlow's own gradient of a lookup holds one slice per id. Keras' optimizers square each slice before they sum the
slices of an id, which gives different updates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from gpt_tf.weights import wide


def unset(shape: tuple[int, ...], dtype: Any) -> tf.Tensor:
    """Uninitialised memory: each variable of a model then gets its value from the parameter table."""
    return tf.raw_ops.Empty(shape=shape, dtype=dtype, init=False)


class Embedding(keras.layers.Layer):
    """Rows of a table by id."""

    def __init__(self, rows: int, width: int, **keras_options: Any) -> None:
        super().__init__(autocast=False, **keras_options)
        self.rows, self.width = rows, width

    def build(self, input_shape: Any = None) -> None:
        shape = (self.rows, self.width)
        self.embeddings = self.add_weight(shape=shape, initializer=unset, name="embeddings")

    def call(self, ids: tf.Tensor) -> tf.Tensor:  # (...)
        return tf.cast(look_up(tf.convert_to_tensor(self.embeddings), ids), self.compute_dtype)  # (..., C)

    def replace(self, values: tf.Tensor) -> None:
        """Use another table from now on."""
        trainable = self.embeddings.trainable
        self._tracker.unlock()  # a built layer takes no new variable otherwise
        del self.embeddings
        self.rows = len(values)
        self.build()
        self._tracker.lock()
        self.embeddings.assign(values)
        self.embeddings.trainable = trainable


@tf.custom_gradient
def look_up(table: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, None]]]:
    """Rows of ``table``, with a dense gradient added up in float32 at least. (V, C), (...) -> (..., C).

    For ids outside of the table, the result is NaN; without this, XLA would return the last row and a GPU zeros. On a
    CPU without XLA, TensorFlow raises an error.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        total = tf.math.unsorted_segment_sum(wide(upstream), ids, table.shape[0])
        return tf.cast(total, table.dtype), None

    inside = (ids >= 0) & (ids < table.shape[0])
    return tf.where(inside[..., None], tf.gather(table, ids), math.nan), gradient
