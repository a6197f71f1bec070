"""Weight-only int8 for inference: a quarter of the bytes of float32 weights to read for each token."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from gpt_torch.projection import Projection, linear

if TYPE_CHECKING:
    from gpt_torch.pretrained import OpenAIGPTPreTrainedModel

LEVELS = 127
FEW_ROWS = 8  # up to this number of rows, PyTorch's int8 kernel is faster; beyond it, a bfloat16 copy of the weight
KERNEL_WIDTH = 64  # widths that are not a multiple of it use the copy: the kernel reads beyond the end of such rows
KINDS = ("int8",)


class Int8Weight(nn.Module):
    """A weight (out, in) as integers in [-127, 127] with a float32 scale for each output; without gradients.

    Products are computed in bfloat16 and scaled in float32.
    """

    if TYPE_CHECKING:
        weight: torch.Tensor
        scale: torch.Tensor
        unit: torch.Tensor

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        scale = (weight.float().abs().amax(-1) / LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
        levels = (weight.float() / scale[:, None]).round()
        self.register_buffer("weight", levels.to(torch.int8, memory_format=torch.contiguous_format))
        self.register_buffer("scale", scale)
        self.register_buffer("unit", torch.ones_like(scale, dtype=torch.bfloat16), persistent=False)

    def product(self, x: torch.Tensor) -> torch.Tensor:
        """``x @ weight.T``. (..., in) -> (..., out)"""
        rows = x.reshape(-1, x.size(-1)).to(torch.bfloat16)
        if len(rows) <= FEW_ROWS and rows.size(-1) % KERNEL_WIDTH == 0:
            product = torch._weight_int8pack_mm(rows, self.weight, self.unit)
        else:
            product = linear(rows, self.weight.to(torch.bfloat16))
        return (product.float() * self.scale).to(x.dtype).view(*x.shape[:-1], -1)


class Int8Projection(Int8Weight):
    """Replaces a ``Projection``."""

    def __init__(self, projection: Projection) -> None:
        super().__init__(projection.weight.detach().t())
        self.bias = projection.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.product(x) + self.bias


class Int8Embedding(Int8Weight):
    """Replaces the token embedding, which is also the head."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__(embedding.weight.detach())
        self.dtype = embedding.weight.dtype

    def forward(self, ids: torch.Tensor) -> torch.Tensor:  # (...)
        return (self.weight[ids].float() * self.scale[ids, None]).to(self.dtype)  # (..., C)


class Int8Head(nn.Module):
    """Replaces an ``LMHead``."""

    def forward(self, hidden_states: torch.Tensor, tokens_embed: Int8Embedding) -> torch.Tensor:  # (..., T, C)
        return tokens_embed.product(hidden_states)  # (..., T, V)


def quantize(model: OpenAIGPTPreTrainedModel) -> None:
    """Replace the kernels and the token embedding of a model, one by one."""
    for block in model.trunk.h:
        for part, name in ((block.attn, "c_attn"), (block.attn, "c_proj"), (block.mlp, "c_fc"), (block.mlp, "c_proj")):
            setattr(part, name, Int8Projection(getattr(part, name)))
    model.trunk.tokens_embed = Int8Embedding(model.trunk.tokens_embed)  # type: ignore[arg-type]  # not quantized before
    if hasattr(model, "lm_head"):
        model.lm_head = Int8Head()
    model.requires_grad_(False)
