"""Matrix products by the fastest kernel: PyTorch uses MKL for float32, which on AMD has half the speed of oneDNN."""

import functools
import math
from typing import Any

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn import functional

PLAIN = (torch.Tensor, nn.Parameter)
PARTS = 8


class Projection(nn.Module):
    """``x @ weight + bias``; the weight is stored (in, out), as in OpenAI's code and the published files."""

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__()
        self.in_features, self.out_features = width_in, width_out
        self.weight = nn.Parameter(torch.empty(width_in, width_out))
        self.bias = nn.Parameter(torch.empty(width_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return linear(x, self.weight.t(), self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


class Product(torch.autograd.Function):
    """``x @ weight.T + bias`` and its gradients, which are products again; (N, in), (out, in), (out,) or ``None``."""

    @staticmethod
    def forward(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            linear(gradient, weight.t()) if of_x else None,
            gradient_of_weight(x, gradient, weight) if of_weight else None,
            gradient.sum(0) if of_bias else None,
        )


def gradient_of_weight(rows: torch.Tensor, gradients: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """``gradients.T @ rows``, laid out as the weight is: (N, in), (N, out) -> (out, in)."""
    if weight.is_contiguous():
        return linear(gradients.t(), rows.t())
    return linear(rows.t(), gradients.t()).t()


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    """``x @ weight.T + bias`` for (..., in), (out, in) and (out,), by oneDNN where it is faster and autograd allows."""
    if not by_onednn(x, weight):
        return functional.linear(x, weight, bias)
    if not torch.is_grad_enabled():
        if x.numel() == x.size(-1) and x.dtype is torch.float32 and weight.t().is_contiguous():
            return product_of_one_row(x, weight, bias)
        return Product.forward(x, weight, bias)
    # Hooks and logit masks edit the result in place, which autograd forbids for a view made inside a Function.
    product = Product.apply(x.reshape(-1, x.size(-1)), weight, bias)
    return product.view(*x.shape[:-1], weight.size(0))


def product_of_one_row(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``linear`` of a single row and a kernel stored (in, out), at the speed of memory.

    oneDNN reads such a kernel at two thirds of that speed. Here each thread computes a part of the sum, and reads its
    part of the kernel from end to end.
    """
    parts = math.gcd(x.numel(), PARTS)
    products = torch.bmm(x.reshape(parts, 1, -1), weight.t().view(parts, -1, weight.size(0)))
    product = products.sum(0)
    return (product if bias is None else product + bias).view(*x.shape[:-1], weight.size(0))


def by_onednn(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether oneDNN computes a product: only for plain CPU tensors, and only if nothing else intercepts the operator.

    Compilers, tracers, transforms, autocast, and modes such as ``FlopCounterMode`` only know ``linear``.
    """
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch._C._len_torch_dispatch_stack():
        return False
    plain = type(x) in PLAIN and type(weight) in PLAIN and x.device.type == "cpu" and x.dtype in onednn()
    plain = plain and weight.dtype is x.dtype  # otherwise PyTorch has the clearer error
    return plain and not (
        torch.is_autocast_enabled("cpu")
        or torch._C._are_functorch_transforms_active()
        or any(forward_ad.unpack_dual(tensor).tangent is not None for tensor in (x, weight))
    )


@functools.cache
def onednn() -> tuple[torch.dtype, ...]:
    """The dtypes that oneDNN multiplies on this machine; none if this build of PyTorch lacks oneDNN."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return ()
    fast_bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if fast_bfloat16 else (torch.float32,)
