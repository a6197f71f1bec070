"""The adapter that the conformance tests and the command line use; see ``gptcore.backends``."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from gpt_torch import heads
from gpt_torch.cache import KVCache
from gpt_torch.modeling import OpenAIGPTModel
from gpt_torch.pretrained import OpenAIGPTPreTrainedModel
from gpt_torch.weights import export, parameters_of, to_numpy_bits
from gptcore.backends import CAPABILITIES, Arrays
from gptcore.generation import GenerateOutput
from gptcore.spec.parameters import Head

ACCELERATE_DEVICE = "ACCELERATE_TORCH_DEVICE"  # the device of a trainer, which accelerate reads

MODELS: dict[Head, type[OpenAIGPTPreTrainedModel]] = {
    Head.NONE: OpenAIGPTModel,
    Head.LM: heads.OpenAIGPTLMHeadModel,
    Head.DOUBLE_HEADS: heads.OpenAIGPTDoubleHeadsModel,
    Head.SEQUENCE_CLASSIFICATION: heads.OpenAIGPTForSequenceClassification,
}


class TorchBackend:
    """Implements ``gptcore.backends.Backend`` for PyTorch."""

    name = "torch"
    capabilities = tuple(CAPABILITIES)

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def devices(self) -> list[str]:
        accelerator = torch.accelerator.current_accelerator()
        return ["cpu", *(f"{accelerator}:{i}" for i in range(torch.accelerator.device_count()))]

    @contextlib.contextmanager
    def on(self, device: str) -> Iterator[None]:
        before = os.environ.get(ACCELERATE_DEVICE)
        os.environ[ACCELERATE_DEVICE] = device
        try:
            with torch.device(device):
                yield
        finally:
            del os.environ[ACCELERATE_DEVICE]
            os.environ.update({} if before is None else {ACCELERATE_DEVICE: before})

    def load(
        self,
        path: str | Path,
        head: Head,
        *,
        dtype: str = "float32",
        attn_implementation: str = "sdpa",
        **config: Any,
    ) -> TorchBackendModel:
        torch.set_float32_matmul_precision("highest")
        options = {"dtype": dtype, "attn_implementation": attn_implementation, **config}
        return TorchBackendModel(MODELS[head].from_pretrained(path, **options))


class TorchBackendModel:
    """One model; implements ``gptcore.backends.BackendModel``."""

    def __init__(self, model: OpenAIGPTPreTrainedModel) -> None:
        self.model = model
        self.config = model.config
        self.generation_config = getattr(model, "_generation_config", None)

    @torch.no_grad()
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
        output = self.model(**self.tensors(inputs), **flags, return_dict=True)
        return {name: to_arrays(value) for name, value in output.items()}

    def reordered(self, past_key_values: KVCache, rows: NDArray[Any]) -> KVCache:
        return past_key_values.reordered(torch.from_numpy(rows).to(self.model.device))

    def generate(self, input_ids: Any, attention_mask: Any = None, **settings: Any) -> NDArray[Any] | GenerateOutput:
        output = self.model.generate(input_ids, attention_mask, **settings)  # type: ignore[operator]  # of the LM head
        return output if isinstance(output, GenerateOutput) else output.cpu().numpy()

    def loss_and_gradients(self, inputs: Arrays) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
        self.model.zero_grad(set_to_none=True)
        output = self.model(**self.tensors(inputs), return_dict=True)
        losses = {name: value for name, value in output.items() if name.endswith("loss")}
        sum(losses.values()).backward()
        gradients = {
            name: to_arrays(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
            for name, parameter in parameters_of(self.model).items()
        }
        return {name: value.item() for name, value in losses.items()}, gradients

    def tensors(self, inputs: Arrays) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(array).to(self.model.device) for name, array in inputs.items()}

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
    return to_numpy_bits(value if value.dtype is torch.float64 else value.float())


BACKEND = TorchBackend()
