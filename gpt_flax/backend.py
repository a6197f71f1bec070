"""The adapter that the conformance tests and the command line use; see ``gptcore.backends``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from gpt_flax import heads
from gpt_flax.cache import KVCache
from gpt_flax.modeling import FlaxOpenAIGPTModel
from gpt_flax.pretrained import FlaxOpenAIGPTPreTrainedModel
from gpt_flax.weights import export, parameters_of, to_numpy_bits, transform_of
from gptcore.backends import CAPABILITIES, Arrays
from gptcore.generation import GenerateOutput
from gptcore.spec.outputs import ModelOutput
from gptcore.spec.parameters import Head, parameters

MODELS: dict[Head, type[FlaxOpenAIGPTPreTrainedModel]] = {
    Head.NONE: FlaxOpenAIGPTModel,
    Head.LM: heads.FlaxOpenAIGPTLMHeadModel,
    Head.DOUBLE_HEADS: heads.FlaxOpenAIGPTDoubleHeadsModel,
    Head.SEQUENCE_CLASSIFICATION: heads.FlaxOpenAIGPTForSequenceClassification,
}

Flags = tuple[tuple[str, bool], ...]


class FlaxBackend:
    """Implements ``gptcore.backends.Backend`` for Flax NNX on JAX."""

    name = "flax"
    capabilities = tuple(CAPABILITIES)

    def versions(self) -> dict[str, str]:
        return {"jax": jax.__version__, "flax": version("flax")}

    def devices(self) -> list[str]:
        return list(local_devices())

    def on(self, device: str) -> AbstractContextManager[Any]:
        return jax.default_device(local_devices()[device])

    def load(
        self,
        path: str | Path,
        head: Head,
        *,
        dtype: str = "float32",
        attn_implementation: str = "sdpa",
        **config: Any,
    ) -> FlaxBackendModel:
        options = {"dtype": dtype, "attn_implementation": attn_implementation, **config}
        with precision(dtype):
            return FlaxBackendModel(MODELS[head].from_pretrained(path, **options), dtype)


def local_devices() -> dict[str, jax.Device]:
    """The devices of this process by name: those that JAX prefers and, beside a GPU, the CPU."""
    devices = list(jax.local_devices())
    with contextlib.suppress(RuntimeError):  # JAX_PLATFORMS excludes the CPU
        devices += jax.local_devices(backend="cpu")
    return {f"{device.platform}:{device.id}": device for device in devices}


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Compute matrix products in the full precision of the dtype; allow float64 if that is the dtype."""
    with jax.default_matmul_precision("highest"), jax.enable_x64(dtype == "float64"):
        yield


class FlaxBackendModel:
    """One model; implements ``gptcore.backends.BackendModel``."""

    def __init__(self, model: FlaxOpenAIGPTPreTrainedModel, dtype: str) -> None:
        self.model = model
        self.config = model.config
        self.generation_config = getattr(model, "_generation_config", None)
        self.dtype = dtype

    def forward(
        self,
        inputs: Arrays,
        *,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        past_key_values: KVCache | None = None,
        use_cache: bool = False,
    ) -> dict[str, Any]:
        flags: Flags = (("output_attentions", output_attentions), ("output_hidden_states", output_hidden_states))
        arrays: dict[str, Any] = dict(inputs)
        if past_key_values is not None or use_cache:  # two of the models have no cache
            flags += (("use_cache", use_cache),)
            arrays["past_key_values"] = past_key_values
        with precision(self.dtype):
            self.model._check(cache=past_key_values, **inputs)  # under jit, values cannot be checked
            output = run(self.model, arrays, flags)
            return {name: to_arrays(value) for name, value in output.items()}

    def reordered(self, past_key_values: KVCache, rows: NDArray[Any]) -> KVCache:
        return past_key_values.reordered(jnp.asarray(rows))

    def generate(self, input_ids: Any, attention_mask: Any = None, **settings: Any) -> NDArray[Any] | GenerateOutput:
        with precision(self.dtype):
            output = self.model.generate(input_ids, attention_mask, **settings)  # type: ignore[attr-defined]  # of the LM head
        return output if isinstance(output, GenerateOutput) else np.asarray(output)

    def loss_and_gradients(self, inputs: Arrays) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
        with precision(self.dtype):
            self.model._check(cache=None, **inputs)
            state, losses = run_backward(self.model, dict(inputs))
            table = parameters(self.config, self.model.head)
            holder = nnx.merge(nnx.graphdef(self.model), state, nnx.state(self.model, nnx.Not(nnx.Param)))
            gradients = {
                name: transform_of(table[name])(to_arrays(parameter.get_value()))
                for name, parameter in parameters_of(holder).items()
            }
            return {name: float(value) for name, value in losses.items()}, gradients

    def weights(self) -> dict[str, NDArray[Any]]:
        return dict(export(self.model))

    def save(self, folder: str | Path, max_shard_size: int | str | None = None) -> None:
        self.model.save_pretrained(folder, max_shard_size=max_shard_size)


@nnx.jit(static_argnames="flags")
def run(model: FlaxOpenAIGPTPreTrainedModel, arrays: dict[str, Any], flags: Flags) -> ModelOutput:
    """A compiled call; ``flags`` are pairs of name and value."""
    return model(**arrays, **dict(flags), return_dict=True)


def total_loss(model: FlaxOpenAIGPTPreTrainedModel, inputs: dict[str, Any]) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The sum of all losses, and each of them."""
    losses = {name: value for name, value in model(**inputs, return_dict=True).items() if name.endswith("loss")}
    return sum(losses.values()), losses


run_backward = nnx.jit(nnx.grad(total_loss, argnums=nnx.DiffState(0, nnx.Param), has_aux=True))


def to_arrays(value: Any) -> Any:
    """Arrays as NumPy arrays, half types as float32; tuples stay tuples, a cache as it is."""
    if isinstance(value, KVCache):
        return value
    if isinstance(value, tuple):
        return tuple(to_arrays(item) for item in value)
    return to_numpy_bits(value if value.dtype == jnp.float64 else value.astype(jnp.float32))


BACKEND = FlaxBackend()
