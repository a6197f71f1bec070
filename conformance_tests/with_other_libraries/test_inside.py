"""Libraries that change what is inside of a PyTorch model: quantization, interventions; opt-in."""

import nnsight
import pytest
import torch
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_

from gpt_torch.projection import Projection

pytestmark = pytest.mark.filterwarnings("default")  # other libraries deprecate in their own time

IDS = torch.arange(24).view(2, 12) % 61


@pytest.mark.parametrize("gradients", [False, True])
def test_interventions_of_nnsight(model, gradients):
    """A layer's output is read and edited in place, as by a hook."""
    model.requires_grad_(gradients)
    mlp = model.transformer.h[1].mlp
    wrapped = nnsight.NNsight(model)
    with wrapped.trace(IDS):
        before = wrapped.transformer.h[1].mlp.output.clone().save()
        wrapped.transformer.h[1].mlp.output[:, 3] = 0
        logits = wrapped.output.logits.save()
    seen = []

    def edit(module, inputs, output):
        seen.append(output)
        return output * (torch.arange(12) != 3)[:, None]

    with mlp.register_forward_hook(edit):
        torch.testing.assert_close(logits, model(IDS).logits)
    torch.testing.assert_close(before, seen[0])


def with_linears(model):
    """``nn.Linear``, which these libraries look for, in the place of each ``Projection``."""
    for name, module in list(model.named_modules()):
        if isinstance(module, Projection):
            linear = torch.nn.Linear(module.in_features, module.out_features)
            linear.weight.data, linear.bias.data = module.weight.t().contiguous(), module.bias.data
            model.set_submodule(name, linear)
    return model


QUANTIZERS = {
    "torchao, weights": lambda model: quantize_(model, Int8WeightOnlyConfig()),
    "torchao, dynamic": lambda model: quantize_(model, Int8DynamicActivationInt8WeightConfig()),
    "torch, dynamic": lambda model: torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, inplace=True),
}


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_quantization(model, quantizer):
    expected = model(IDS).logits
    torch.testing.assert_close(with_linears(model)(IDS).logits, expected, rtol=0, atol=1e-4)
    QUANTIZERS[quantizer](model)
    error = (model(IDS).logits - expected).square().mean().sqrt() / expected.std()
    assert 1e-4 < error < 0.1
    assert model.generate(IDS[:, :3], max_new_tokens=4).shape == (2, 7)
