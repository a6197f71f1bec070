"""The parameter table <-> the model's parameters, by canonical name, in both directions.

``ROWS`` maps canonical names to paths in the model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike
from numpy.typing import ArrayLike, NDArray

from gptcore.checkpoint import check_modules
from gptcore.checkpoint.dtypes import check_dtype
from gptcore.checkpoint.layouts import TRANSFORMS, foreign_name
from gptcore.checkpoint.layouts.nnx import ROWS
from gptcore.errors import ConfigError
from gptcore.spec.parameters import Head, Parameter, head_rows, parameters

if TYPE_CHECKING:
    from gpt_flax.pretrained import FlaxOpenAIGPTPreTrainedModel

TensorLike: TypeAlias = jax.Array | ArrayLike
"""An argument that a call converts to a tensor."""


def framework_dtype(dtype: DTypeLike | None) -> jnp.dtype:
    """The JAX dtype of that name, float32 for ``None``; an error if it is not supported, or float64 is not enabled."""
    name = check_dtype(dtype if isinstance(dtype, str) else dtype_name(dtype or jnp.float32))
    if name == "float64" and not jax.config.jax_enable_x64:  # type: ignore[attr-defined]  # set at run time
        raise ConfigError(
            "dtype must be at most 32 bits wide unless jax_enable_x64 is set; got 'float64'. "
            "Call jax.config.update('jax_enable_x64', True) before any JAX computation."
        )
    return jnp.dtype(name)


def dtype_name(dtype: DTypeLike) -> str:
    """``"float32"`` for ``jnp.float32``."""
    return jnp.dtype(dtype).name


def wide(array: jax.Array) -> jax.Array:
    """The same values, at least in float32."""
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def paths_of(model: FlaxOpenAIGPTPreTrainedModel) -> dict[str, tuple[str | int, ...]]:
    """Where the parameters are in the model, by canonical name, in the order of the table."""
    own = {row.name for row in head_rows(model.config, model.head)}
    paths = {}
    for name, parameter in parameters(model.config, model.head).items():
        trunk = () if model.head is Head.NONE or name in own else ("transformer",)
        steps = foreign_name(ROWS, parameter)[0].split(".")
        paths[name] = (*trunk, *(int(step) if step.isdecimal() else step for step in steps))
    return paths


def parameters_of(model: FlaxOpenAIGPTPreTrainedModel) -> dict[str, nnx.Param[Any]]:
    """The model's parameters by canonical name, in the order of the table.

    Raises:
        CheckpointError: Parameters are missing, because modules were replaced.
    """
    paths, nodes = paths_of(model), {}
    for name, path in paths.items():
        node: Any = model
        with contextlib.suppress(AttributeError, IndexError):
            for step in path:
                node = node[step] if isinstance(step, int) else getattr(node, step)
            nodes[name] = node
    check_modules(model.head, [name for name in paths if not isinstance(nodes.get(name), nnx.Variable)])
    return nodes


def weights_of(module: nnx.Module) -> dict[str, nnx.Variable[Any]]:
    """Each variable of a module once, by path, except random streams and what ``sow`` stores."""
    return {
        ".".join(map(str, path)): node
        for path, node in nnx.iter_graph(module)
        if isinstance(node, nnx.Variable) and not isinstance(node, (nnx.RngState, nnx.Intermediate))
    }


def left_out(model: FlaxOpenAIGPTPreTrainedModel) -> list[str]:
    """Names of the weights that are not in the table, such as the bias of a new head."""
    own = set(map(id, parameters_of(model).values()))
    return [path for path, variable in weights_of(model).items() if id(variable) not in own]


def transform_of(parameter: Parameter) -> Callable[[Any], Any]:
    """The function that turns the canonical array into the model's, and back."""
    return TRANSFORMS[foreign_name(ROWS, parameter)[1]]


def assign(
    model: FlaxOpenAIGPTPreTrainedModel, values: Iterable[tuple[str, NDArray[Any]]] | Iterable[tuple[str, jax.Array]]
) -> None:
    """Copy values (canonical name, array in the model's dtype, bfloat16 as bits or in JAX) into the model."""
    table = parameters(model.config, model.head)
    targets = parameters_of(model)
    for name, array in values:
        target = targets[name]
        value = transform_of(table[name])(array)
        target.set_value(value if isinstance(value, jax.Array) else from_numpy(value, target.get_value().dtype))


def export(model: FlaxOpenAIGPTPreTrainedModel) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield canonical name and array of every parameter, without a copy where it is on the CPU; bfloat16 as bits."""
    table = parameters(model.config, model.head)
    for name, parameter in parameters_of(model).items():
        yield name, transform_of(table[name])(to_numpy_bits(parameter.get_value()))


def from_numpy(array: NDArray[Any], dtype: DTypeLike) -> jax.Array:
    """A JAX array of ``dtype`` with a copy of the values of ``array`` (bfloat16 as bits)."""
    bits = np.array(array)  # JAX may keep using this copy, never the caller's memory
    copy = jax.device_put(bits.view(jnp.bfloat16) if dtype == jnp.bfloat16 else bits)
    return jax.block_until_ready(copy)  # otherwise several sources would be in memory at once


def to_numpy_bits(array: jax.Array) -> NDArray[Any]:
    """The values as a NumPy array; bfloat16 as its bits in ``uint16``."""
    values = np.asarray(array)
    return values.view(np.uint16) if values.dtype == jnp.bfloat16 else values
