"""The parameter table <-> the model's parameters, by canonical name, in both directions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from gptcore.checkpoint import check_modules
from gptcore.checkpoint.dtypes import check_dtype
from gptcore.checkpoint.layouts.published import published_name
from gptcore.errors import ConfigError
from gptcore.spec.parameters import Kind, parameters

if TYPE_CHECKING:
    from gpt_torch.pretrained import OpenAIGPTPreTrainedModel

TensorLike: TypeAlias = torch.Tensor | ArrayLike
"""An argument that a call converts to a tensor."""


def framework_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    """The PyTorch dtype of that name, float32 for ``None``; a ``ConfigError`` if it is not supported."""
    return getattr(torch, check_dtype(str(dtype or "float32").removeprefix("torch.")))


def dtype_name(dtype: torch.dtype) -> str:
    """``"float32"`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def wide(tensor: torch.Tensor) -> torch.Tensor:
    """The same values, at least in float32."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def device_of(device_map: Any) -> torch.device | None:
    """The one device that ``device_map`` of transformers names; ``"auto"`` is the accelerator, or else the CPU.

    Raises:
        ConfigError: ``device_map`` divides the model.
    """
    if isinstance(device_map, dict) and list(device_map) == [""]:
        device_map = device_map[""]
    if isinstance(device_map, dict):
        raise ConfigError(f"device_map must name one device; got {device_map}. Pass device_map='auto' or a device.")
    if device_map in ("auto", "balanced", "balanced_low_0", "sequential"):
        # A build for CUDA names its accelerator even where there is none.
        return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    return None if device_map is None else torch.device(device_map)


def parameters_of(
    model: OpenAIGPTPreTrainedModel, tensors: Mapping[str, torch.Tensor] | None = None
) -> dict[str, torch.Tensor]:
    """The model's parameters by canonical name, in the order of the table.

    ``tensors`` under published names, such as a state dict, take the place of the parameters.

    Raises:
        CheckpointError: Parameters are missing, because modules were replaced.
    """
    published = {name: published_name(name, model.head) for name in parameters(model.config, model.head)}
    by_name = dict(model.named_parameters()) if tensors is None else tensors
    check_modules(model.head, [name for name in published.values() if name not in by_name])
    return {name: by_name[path] for name, path in published.items()}


def left_out(model: OpenAIGPTPreTrainedModel, tensors: Mapping[str, torch.Tensor] | None = None) -> list[str]:
    """Names of the weights that are not in the table, such as the bias of a new head.

    Only of those in ``tensors``, if they are passed.
    """
    own = set(map(id, parameters_of(model, tensors).values()))
    candidates = {name: p if tensors is None else tensors.get(name) for name, p in model.named_parameters()}
    return [name for name, tensor in candidates.items() if tensor is not None and id(tensor) not in own]


@torch.no_grad()
def assign(model: OpenAIGPTPreTrainedModel, values: Iterable[tuple[str, NDArray[Any]]]) -> None:
    """Copy values (canonical name, array in the model's dtype, bfloat16 as bits) into the model."""
    targets = parameters_of(model)
    for name, array in values:
        targets[name].copy_(from_numpy(array, targets[name].dtype))


def export(
    model: OpenAIGPTPreTrainedModel, tensors: Mapping[str, torch.Tensor] | None = None
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield canonical name and array of every parameter, without a copy where it is on the CPU; bfloat16 as bits.

    A kernel in an ``nn.Linear``, which takes the place of a ``Projection`` for other libraries, is stored (out, in);
    the array is (in, out), as for all kernels. ``tensors`` take the place of the parameters.
    """
    table = parameters(model.config, model.head)
    for name, parameter in parameters_of(model, tensors).items():
        module = model.get_submodule(published_name(name, model.head).rpartition(".")[0])
        turned = table[name].kind is Kind.KERNEL and isinstance(module, nn.Linear)
        yield name, to_numpy_bits(parameter.t() if turned else parameter)


def from_numpy(array: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    """A tensor of ``dtype`` over the memory of ``array`` (bfloat16 as bits)."""
    return torch.from_numpy(np.asarray(array)).view(dtype)


def to_numpy_bits(tensor: torch.Tensor) -> NDArray[Any]:
    """The values as a NumPy array; bfloat16 as its bits in ``uint16``."""
    tensor = tensor.detach().cpu()
    return tensor.view(torch.uint16).numpy() if tensor.dtype is torch.bfloat16 else tensor.numpy()
