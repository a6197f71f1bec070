"""What Keras users expect of a model: files, graphs, resizing, dtype policies and the Keras backend."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from tf_models import CONFIG, IDS, build, every_model, inputs_of, same_dropout_in_each_run  # noqa: F401

import gpt_tf
from gpt_tf.training import Trainer
from gptcore import ConfigError
from gptcore.spec.parameters import Head
from gptcore.spec.recipe import Recipe


def test_predict_gives_arrays(model):
    output = model.predict(inputs_of(model), verbose=0)
    np.testing.assert_allclose(output["logits"], model(inputs_of(model))["logits"], atol=1e-4)


def test_keras_files(model, tmp_path):
    inputs = inputs_of(model)
    expected = model(inputs)["logits"].numpy()
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    np.testing.assert_array_equal(loaded(inputs)["logits"], expected)
    model.save_weights(tmp_path / "model.weights.h5")
    other = type(model)(CONFIG, seed=3)
    other.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_array_equal(other(inputs)["logits"], expected)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_graphs_of_unknown_size(model, jit_compile):
    spec = tf.TensorSpec([None, None], tf.int32)
    graph = tf.function(lambda ids: model(ids)[0], input_signature=[spec], jit_compile=jit_compile)
    for ids in (IDS[:, :3], IDS[:1]):
        np.testing.assert_allclose(graph(tf.constant(ids, tf.int32)), model(ids)[0], atol=1e-4)


def test_the_gradient_of_the_embedding_is_dense():
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    with tf.GradientTape() as tape:
        loss = model({"input_ids": IDS * 0, "labels": IDS * 0}).loss
    gradients = tape.gradient(loss, model.trainable_variables)
    assert len(gradients) == len(model.trainable_variables)
    assert not any(isinstance(gradient, tf.IndexedSlices) or gradient is None for gradient in gradients)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains(policy):
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel, dtype=policy)
    exact = build(gpt_tf.TFOpenAIGPTLMHeadModel)({"input_ids": IDS, "labels": IDS}).loss
    inputs = {"input_ids": IDS, "labels": IDS}
    assert abs(float(model(inputs).loss) - float(exact)) < 0.1
    model.compile(keras.optimizers.Adam(1e-2))
    before = model.evaluate(inputs, verbose=0)
    model.fit(inputs, epochs=8, verbose=0)
    assert model.evaluate(inputs, verbose=0) < before
    assert model.trainable_variables[0].dtype == "float32"


def test_another_keras_backend_is_one_clear_error():
    out = subprocess.run(
        [sys.executable, "-c", "import gpt_tf"],
        env={**os.environ, "KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.returncode == 1
    last = out.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: gpt_tf ")
    assert "KERAS_BACKEND" in last


def test_resizing(model):
    base = build(type(model))
    table = model.resize_token_embeddings(47)
    assert table is model.get_input_embeddings()
    assert (model.config.vocab_size, CONFIG.vocab_size) == (47, 41)
    assert model.num_parameters() == base.num_parameters() + 6 * 14
    assert table(tf.constant([46])).shape == (1, 14)
    hidden = [m({"input_ids": IDS}, output_hidden_states=True).hidden_states[-1] for m in (base, model)]
    np.testing.assert_array_equal(*hidden)
    with pytest.raises(ConfigError, match="vocab_size must be"):
        model.resize_token_embeddings(0)


@pytest.mark.parametrize("policy", ["float64", "mixed_bfloat16", "mixed_float16"])
def test_the_global_policy(policy, make_checkpoint):
    before = keras.config.dtype_policy()
    folder = make_checkpoint(CONFIG, Head.LM)
    keras.config.set_dtype_policy(policy)
    try:
        models = [gpt_tf.TFOpenAIGPTLMHeadModel(CONFIG), gpt_tf.TFOpenAIGPTLMHeadModel.from_pretrained(folder)]
        plain = gpt_tf.TFOpenAIGPTLMHeadModel.from_pretrained(folder, dtype="float32")
        plain_loss = Trainer(plain, Recipe(), 1).evaluate({"input_ids": IDS, "labels": IDS})["lm_loss"]
    finally:
        keras.config.set_dtype_policy(before)
    for model in models:
        assert {layer.dtype_policy.name for layer in model._flatten_layers()} == {policy}
        assert model(IDS).logits.dtype == keras.DTypePolicy(policy).compute_dtype
        model.compile("adam", run_eagerly=True)
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
        model.fit({"input_ids": IDS, "labels": IDS}, verbose=0)
    assert plain.dtype_policy.name == "float32"
    assert plain_loss == pytest.approx(float(plain({"input_ids": IDS, "labels": IDS}).loss), rel=1e-6)


def test_a_resize_reaches_what_keras_compiled():
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    inputs = {"input_ids": IDS, "labels": IDS}
    model.compile("sgd")
    model.predict(IDS, verbose=0), model.evaluate(inputs, verbose=0), model.transformer.predict(IDS, verbose=0)
    model.resize_token_embeddings(47)
    model.get_input_embeddings().embeddings.assign_add(tf.ones((47, 14)) / 8)
    np.testing.assert_allclose(model.predict(IDS, verbose=0)["logits"], model(IDS).logits, atol=1e-4)
    found, expected = model.transformer.predict(IDS, verbose=0), model.transformer(IDS)
    np.testing.assert_allclose(found["last_hidden_state"], expected.last_hidden_state, atol=1e-4)
    assert model.evaluate(inputs, verbose=0) == pytest.approx(float(model(inputs).loss), rel=1e-5)
