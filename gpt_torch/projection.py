"""Matrix products, by the fastest kernel: PyTorch hands float32 to MKL, which on AMD has a half of oneDNN's speed."""

import functools

import torch
from torch import nn
from torch.nn import functional


class Projection(nn.Module):
    """``x @ weight + bias``; the weight is stored (in, out), as in OpenAI's code and the published files."""

    def __init__(self, width_in, width_out):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width_in, width_out))
        self.bias = nn.Parameter(torch.empty(width_out))

    def forward(self, x):
        return linear(x, self.weight.t(), self.bias)


def linear(x, weight, bias=None):
    """``x @ weight.T + bias`` for (..., in), (out, in) and (out,), by oneDNN where nothing needs a gradient.

    Training gains nothing by it: what the products win, copies of transposed gradients lose again.
    """
    others = torch.is_grad_enabled() or torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling()
    if others or x.device.type != "cpu" or x.dtype not in onednn():
        return functional.linear(x, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@functools.cache
def onednn():
    """The dtypes that oneDNN multiplies on this machine; none where this build of PyTorch is without it."""
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")):
        return ()
    fast_bfloat16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return (torch.float32, torch.bfloat16) if fast_bfloat16 else (torch.float32,)


@torch.inference_mode(False)
@torch.no_grad()
def lay_out(model, *, by_columns):
    """Store the kernels of a model by columns, which oneDNN reads faster for few rows, or by rows, as at first.

    In place; values, shapes and names stay. What shards or flattens parameters expects rows.
    """
    for module in model.modules():
        if isinstance(module, Projection):
            weight = module.weight
            if not by_columns:
                weight.data = weight.data.contiguous()
            elif weight.device.type == "cpu" and weight.is_contiguous():
                weight.data = weight.data.t().contiguous().t()
