import pytest
from trained_scale import trained_scale

from gpt_torch import OpenAIGPTConfig, OpenAIGPTLMHeadModel
from gpt_torch.weights import assign

CONFIG = OpenAIGPTConfig(vocab_size=61, n_positions=16, n_embd=32, n_layer=2, n_head=2)


@pytest.fixture
def model():
    """For inference, with weights of the size that training gives them."""
    model = OpenAIGPTLMHeadModel(CONFIG, seed=None)
    assign(model, trained_scale(CONFIG, model.head))
    return model.eval().requires_grad_(False)
