"""Small models in Keras at trained scale, for the tests of that framework."""

import keras
import numpy as np
import pytest
from trained_scale import trained_scale

import gpt_tf
from gpt_tf.weights import assign
from gptcore import OpenAIGPTConfig

CONFIG = OpenAIGPTConfig(vocab_size=41, n_positions=13, n_embd=14, n_head=2, n_layer=1, num_labels=3)
IDS = np.arange(10).reshape(2, 5)
MODELS = {
    gpt_tf.TFOpenAIGPTLMHeadModel: {"labels": IDS},
    gpt_tf.TFOpenAIGPTDoubleHeadsModel: {"input_ids": IDS[:, None], "labels": IDS[:, None], "mc_labels": IDS[:, 0] * 0},
    gpt_tf.TFOpenAIGPTForSequenceClassification: {"labels": np.array([2, 0])},
}


@pytest.fixture(autouse=True)
def same_dropout_in_each_run():
    keras.utils.set_random_seed(0)


def build(model_class, config=CONFIG, **options):
    model = model_class(config, seed=None, **options)
    assign(model, trained_scale(config, model.head))
    return model


@pytest.fixture(name="model", params=MODELS, ids=lambda model_class: model_class.__name__)
def every_model(request):
    """Import it, and each test with an argument ``model`` runs once for every model."""
    return build(request.param)


def inputs_of(model):
    return {"input_ids": IDS, **MODELS[type(model)]}
