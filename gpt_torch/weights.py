"""The parameter table <-> PyTorch parameters, both directions. Names are the published ones."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gptcore.checkpoint.dtypes import check_dtype
from gptcore.checkpoint.formats import published_name
from gptcore.parameters import parameters


def framework_dtype(dtype: str | torch.dtype | None) -> torch.dtype:
    """``torch.float32`` for ``None``, else the dtype of that name; a ``CheckpointError`` if there is none."""
    return getattr(torch, check_dtype(str(dtype or "float32").removeprefix("torch.")))


def dtype_name(dtype: torch.dtype) -> str:
    """``"float32"`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def parameters_of(model: nn.Module) -> dict[str, nn.Parameter]:
    """The model's parameters by canonical name, in the order of the table."""
    by_name = dict(model.named_parameters())
    return {name: by_name[published_name(name, model.head)] for name in parameters(model.config, model.head)}


@torch.no_grad()
def assign(model: nn.Module, values: Iterable[tuple[str, NDArray[Any]]]) -> None:
    """Copy values (canonical name, array in the model's dtype, bfloat16 as bits) into the model."""
    targets = parameters_of(model)
    for name, array in values:
        targets[name].copy_(from_numpy(array, targets[name].dtype))


def export(model: nn.Module) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield canonical name and array of every parameter, without a copy where it is on the CPU; bfloat16 as bits."""
    for name, parameter in parameters_of(model).items():
        yield name, to_numpy_bits(parameter)


def from_numpy(array: NDArray[Any], dtype: torch.dtype) -> torch.Tensor:
    """A tensor of ``dtype`` over the memory of ``array`` (bfloat16 given as bits)."""
    return torch.from_numpy(np.asarray(array)).view(dtype)


def to_numpy_bits(tensor: torch.Tensor) -> NDArray[Any]:
    """The tensor's values as an array; bfloat16 as its bits in ``uint16``."""
    tensor = tensor.detach().cpu()
    return tensor.view(torch.uint16).numpy() if tensor.dtype is torch.bfloat16 else tensor.numpy()
