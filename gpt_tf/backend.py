"""The adapter that the conformance tests and the command line use; see ``gptcore.backends``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gpt_tf import heads
from gpt_tf.cache import KVCache
from gpt_tf.modeling import TFOpenAIGPTModel
from gpt_tf.pretrained import TFOpenAIGPTPreTrainedModel
from gpt_tf.weights import export, parameters_of, to_numpy_bits, transform_of
from gptcore.backends import CAPABILITIES, Arrays
from gptcore.generation import GenerateOutput
from gptcore.spec.parameters import Head, parameters

MODELS: dict[Head, type[TFOpenAIGPTPreTrainedModel]] = {
    Head.NONE: TFOpenAIGPTModel,
    Head.LM: heads.TFOpenAIGPTLMHeadModel,
    Head.DOUBLE_HEADS: heads.TFOpenAIGPTDoubleHeadsModel,
    Head.SEQUENCE_CLASSIFICATION: heads.TFOpenAIGPTForSequenceClassification,
}


class TFBackend:
    """Implements ``gptcore.backends.Backend`` for Keras on TensorFlow."""

    name = "tf"
    capabilities = tuple(CAPABILITIES)
    device: str | None = None
    """The device of the current ``on`` block."""

    def versions(self) -> dict[str, str]:
        return {"tensorflow": tf.__version__, "keras": keras.__version__}

    def devices(self) -> list[str]:
        return [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices()]

    @contextlib.contextmanager
    def on(self, device: str) -> Iterator[None]:
        before, self.device = self.device, device
        try:
            with tf.device(device):
                yield
        finally:
            self.device = before

    def load(
        self,
        path: str | Path,
        head: Head,
        *,
        dtype: str = "float32",
        attn_implementation: str = "sdpa",
        **config: Any,
    ) -> TFBackendModel:
        tf.config.experimental.enable_tensor_float_32_execution(False)
        options = {"dtype": dtype, "attn_implementation": attn_implementation, **config}
        return TFBackendModel(MODELS[head].from_pretrained(path, **options))


class TFBackendModel:
    """One model; implements ``gptcore.backends.BackendModel``."""

    def __init__(self, model: TFOpenAIGPTPreTrainedModel) -> None:
        self.model = model
        self.config = model.config
        self.generation_config = getattr(model, "_generation_config", None)

    def forward(
        self,
        inputs: Arrays,
        *,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        past_key_values: KVCache | None = None,
        use_cache: bool = False,
    ) -> dict[str, Any]:
        flags: dict[str, Any] = {"output_attentions": output_attentions, "output_hidden_states": output_hidden_states}
        if past_key_values is not None or use_cache:  # two of the models have no cache
            flags |= {"past_key_values": past_key_values, "use_cache": use_cache}
        output = self.model(self.tensors(inputs), **flags, return_dict=True)
        return {name: to_arrays(value) for name, value in output.items()}

    def reordered(self, past_key_values: KVCache, rows: NDArray[Any]) -> KVCache:
        return past_key_values.reordered(tf.convert_to_tensor(rows))

    def generate(self, input_ids: Any, attention_mask: Any = None, **settings: Any) -> NDArray[Any] | GenerateOutput:
        output = self.model.generate(input_ids, attention_mask, **settings)
        return output if isinstance(output, GenerateOutput) else np.asarray(output)

    def loss_and_gradients(self, inputs: Arrays) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
        variables = parameters_of(self.model)
        with tf.GradientTape() as tape:
            output = self.model(self.tensors(inputs), return_dict=True)
            losses = {name: value for name, value in output.items() if name.endswith("loss")}
            total = sum(losses.values())
        sources = {name: variable.value for name, variable in variables.items()}
        raw_gradients = tape.gradient(total, sources, unconnected_gradients="zero")
        table = parameters(self.config, self.model.head)
        gradients = {name: transform_of(table[name])(to_arrays(raw_gradients[name])) for name in table}
        return {name: float(value) for name, value in losses.items()}, gradients

    def tensors(self, inputs: Arrays) -> dict[str, tf.Tensor]:
        return {name: tf.convert_to_tensor(array) for name, array in inputs.items()}

    def weights(self) -> dict[str, NDArray[Any]]:
        return dict(export(self.model))

    def save(self, folder: str | Path, max_shard_size: int | str | None = None) -> None:
        self.model.save_pretrained(folder, max_shard_size=max_shard_size)


def to_arrays(value: Any) -> Any:
    """Tensors as NumPy arrays, half types as float32; tuples stay tuples, a cache as it is."""
    if isinstance(value, KVCache):
        return value
    if isinstance(value, tuple):
        return tuple(to_arrays(item) for item in value)
    return to_numpy_bits(value if value.dtype == tf.float64 else tf.cast(value, tf.float32))


BACKEND = TFBackend()
