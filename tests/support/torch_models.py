"""Small models in PyTorch at trained scale, for the tests of that framework."""

import pytest
import torch
from trained_scale import trained_scale

import gpt_torch
from gpt_torch.weights import assign
from gptcore import OpenAIGPTConfig

SIZES = {"vocab_size": 41, "n_positions": 13, "n_embd": 14, "n_head": 2, "n_layer": 3, "num_labels": 3}
CONFIG = OpenAIGPTConfig(**SIZES)
MODELS = {
    gpt_torch.OpenAIGPTModel: {},
    gpt_torch.OpenAIGPTLMHeadModel: {"labels": torch.arange(10).view(2, 5)},
    gpt_torch.OpenAIGPTDoubleHeadsModel: {"labels": torch.arange(10).view(2, 5), "mc_labels": torch.tensor(1)},
    gpt_torch.OpenAIGPTForSequenceClassification: {"labels": torch.tensor([2, 0])},
}
IDS = torch.arange(10).view(2, 5)


def build(model_class, config=CONFIG):
    model = model_class(config, seed=None)
    assign(model, trained_scale(config, model.head))
    return model.eval()


@pytest.fixture(name="model", params=MODELS, ids=lambda model_class: model_class.__name__)
def every_model(request):
    """Import it, and each test with an argument ``model`` runs once for every model."""
    return build(request.param)


def largest_difference(a, b):
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)
