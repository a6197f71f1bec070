"""Inputs of a model: dicts, Keras' masks, and ids outside the vocabulary."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tf_models import IDS, MODELS, build, same_dropout_in_each_run  # noqa: F401

import gpt_tf
from gptcore import InputError


@pytest.mark.parametrize("name", ["input_ids", "labels"])
@pytest.mark.parametrize("wrong", [-3, 41])
def test_ids_outside_are_no_number_under_xla(name, wrong):
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    ids = IDS.copy()
    ids[1, 2] = wrong
    inputs = {"input_ids": IDS, "labels": IDS, name: ids}
    run = tf.function(lambda inputs: dict(model(inputs)), jit_compile=True)
    output = run({name: tf.constant(values) for name, values in inputs.items()})
    assert np.isnan(output["loss"])
    if name == "input_ids":
        assert np.isnan(output["logits"][1, 2:]).all()
        np.testing.assert_allclose(output["logits"][0], model(IDS).logits[0], atol=1e-4)


MASKED = np.array([[0, 0, 5, 6, 7], [1, 2, 3, 4, 0]])


@pytest.mark.parametrize("model_class", [gpt_tf.TFOpenAIGPTModel, *MODELS], ids=lambda c: c.__name__)
@pytest.mark.parametrize("way", ["named", "positional", "dict"])
def test_a_mask_of_keras_is_the_attention_mask(model_class, way):
    model, embedding = build(model_class), keras.layers.Embedding(41, 14, mask_zero=True)
    embeds = embedding(MASKED)
    if model_class is gpt_tf.TFOpenAIGPTDoubleHeadsModel:
        embeds = tf.reshape(embeds, (2, 1, 5, 14))
        embeds._keras_mask = tf.constant(MASKED[:, None] != 0)
    expected = model(inputs_embeds=tf.identity(embeds), attention_mask=tf.reshape(MASKED != 0, embeds.shape[:-1]))
    if way == "named":
        output = model(inputs_embeds=embeds)
    elif way == "positional":
        output = model(None, None, None, None, None, embeds)
    else:
        output = model({"inputs_embeds": embeds, "attention_mask": None})
    np.testing.assert_array_equal(output[0], expected[0])


def test_a_mask_of_keras_in_a_functional_model():
    model, embedding = build(gpt_tf.TFOpenAIGPTModel), keras.layers.Embedding(41, 14, mask_zero=True)
    ids = keras.Input((5,), dtype="int32")
    output = keras.Model(ids, model(inputs_embeds=embedding(ids)))(MASKED)
    expected = model(inputs_embeds=tf.identity(embedding(MASKED)), attention_mask=MASKED != 0)
    np.testing.assert_array_equal(output[0], expected[0])


def test_only_a_dict_comes_without_a_name():
    with pytest.raises(InputError, match="inputs after a dict must be keyword arguments; got 1 positional"):
        build(gpt_tf.TFOpenAIGPTModel)({"input_ids": IDS}, IDS > 0)
