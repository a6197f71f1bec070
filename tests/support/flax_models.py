"""Small models in Flax at trained scale, for the tests of that framework."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from trained_scale import trained_scale

import gpt_flax
from gpt_flax.weights import assign
from gptcore import OpenAIGPTConfig

CONFIG = OpenAIGPTConfig(vocab_size=41, n_positions=13, n_embd=14, n_head=2, n_layer=1, num_labels=3)
IDS = np.arange(10).reshape(2, 5)
MODELS = {
    gpt_flax.FlaxOpenAIGPTModel: {},
    gpt_flax.FlaxOpenAIGPTLMHeadModel: {"labels": IDS},
    gpt_flax.FlaxOpenAIGPTDoubleHeadsModel: {"labels": IDS, "mc_labels": np.array(1)},
    gpt_flax.FlaxOpenAIGPTForSequenceClassification: {"labels": np.array([2, 0])},
}


def build(model_class, config=CONFIG):
    model = model_class(config, seed=None)
    assign(model, trained_scale(config, model.head))
    model.eval()
    return model


@pytest.fixture(name="model", params=MODELS, ids=lambda model_class: model_class.__name__)
def every_model(request):
    """Import it, and each test with an argument ``model`` runs once for every model."""
    return build(request.param)


def weights(model):
    return nnx.state(model, nnx.Param)


def largest_difference(a, b):
    return max(float(jnp.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
