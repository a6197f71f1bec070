"""The parameter table <-> the model's parameters, by canonical name, in both directions.

``ROWS`` maps canonical names to paths in the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import keras
import ml_dtypes
import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from gptcore.checkpoint import check_modules
from gptcore.checkpoint.dtypes import check_dtype
from gptcore.checkpoint.layouts import TRANSFORMS, foreign_name
from gptcore.checkpoint.layouts.keras_model import ROWS
from gptcore.spec.parameters import Parameter, parameters

if TYPE_CHECKING:
    from gpt_tf.pretrained import TFOpenAIGPTPreTrainedModel

TensorLike: TypeAlias = tf.Tensor | keras.KerasTensor | ArrayLike
"""An argument that a call converts to a tensor."""

MIXED = "mixed_"


def framework_dtype(dtype: str | tf.DType | keras.DTypePolicy | None) -> keras.DTypePolicy:
    """The Keras policy of that name, the global one for ``None``; a ``ConfigError`` if it is not supported."""
    policy = keras.config.dtype_policy() if dtype is None else dtype
    name = getattr(policy, "name", policy)
    check_dtype(name.removeprefix(MIXED))
    return policy if isinstance(policy, keras.DTypePolicy) else keras.DTypePolicy(name)


def dtype_name(dtype: str | tf.DType | keras.DTypePolicy) -> str:
    """``"float32"`` for ``tf.float32`` and for a policy whose weights are float32."""
    return dtype.variable_dtype if isinstance(dtype, keras.DTypePolicy) else tf.as_dtype(dtype).name


def wide(tensor: tf.Tensor) -> tf.Tensor:
    """The same values, at least in float32."""
    return tf.cast(tensor, tf.float64 if tensor.dtype == tf.float64 else tf.float32)


def parameters_of(model: TFOpenAIGPTPreTrainedModel) -> dict[str, keras.Variable]:
    """The model's parameters by canonical name, in the order of the table."""
    by_path: dict[str, keras.Variable] = {}
    for owner in (model, model.trunk):  # paths in the layout begin inside the trunk or head
        by_path.update((v.path.removeprefix(f"{owner.path}/"), v) for v in owner.variables)
    table = parameters(model.config, model.head).values()
    return {parameter.name: by_path[foreign_name(ROWS, parameter)[0]] for parameter in table}


def left_out(model: TFOpenAIGPTPreTrainedModel) -> list[str]:
    """Names of the weights that are not in the table, such as the bias of a new head."""
    own = set(map(id, parameters_of(model).values()))
    return [variable.path for variable in model.weights if id(variable) not in own]


def is_in_place(model: TFOpenAIGPTPreTrainedModel, parameter: Parameter, variable: keras.Variable) -> bool:
    """Whether this variable is where its name says, and not inside a layer that wraps it, such as an adapter."""
    steps = foreign_name(ROWS, parameter)[0].split("/")
    node: Any = model.trunk if steps[0].startswith("h_") or hasattr(model.trunk, steps[0]) else model
    for step in steps:
        node = node.h[int(step[2:])] if step.startswith("h_") else getattr(node, step, None)
    return node is variable


def transform_of(parameter: Parameter) -> Callable[[Any], Any]:
    """The function that turns the canonical array into the model's, and back."""
    return TRANSFORMS[foreign_name(ROWS, parameter)[1]]


def assign(model: TFOpenAIGPTPreTrainedModel, values: Iterable[tuple[str, NDArray[Any]]]) -> None:
    """Copy values (canonical name, array in the model's dtype, bfloat16 as bits) into the model."""
    table = parameters(model.config, model.head)
    targets = parameters_of(model)
    for name, array in values:
        targets[name].assign(from_numpy(transform_of(table[name])(array), targets[name].dtype))


def export(model: TFOpenAIGPTPreTrainedModel) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield canonical name and array of every parameter, without a copy where it is on the CPU; bfloat16 as bits."""
    table = parameters(model.config, model.head)
    variables = parameters_of(model)
    moved = [name for name, variable in variables.items() if not is_in_place(model, table[name], variable)]
    check_modules(model.head, moved)
    for name, variable in variables.items():
        yield name, transform_of(table[name])(to_numpy_bits(variable))


def from_numpy(array: NDArray[Any], dtype: str | tf.DType) -> tf.Tensor:
    """A tensor of ``dtype`` with the values of ``array`` (bfloat16 as bits)."""
    array = np.asarray(array)
    return tf.convert_to_tensor(array.view(ml_dtypes.bfloat16) if dtype == "bfloat16" else array)


def to_numpy_bits(tensor: tf.Tensor | keras.Variable) -> NDArray[Any]:
    """The values as a NumPy array; bfloat16 as its bits in ``uint16``."""
    tensor = tf.convert_to_tensor(tensor)
    tensor = tf.bitcast(tensor, tf.uint16) if tensor.dtype == tf.bfloat16 else tensor
    return np.asarray(memoryview(tensor))
