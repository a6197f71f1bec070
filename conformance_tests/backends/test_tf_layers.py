"""The layers of a model: dropout in training only, and where the paper has it."""

import keras
import numpy as np
import tensorflow as tf
from tf_models import CONFIG, IDS, build, every_model, inputs_of, same_dropout_in_each_run  # noqa: F401

import gpt_tf


def test_dropout_only_in_training(model):
    inputs = {"input_ids": inputs_of(model)["input_ids"], "return_dict": True}
    np.testing.assert_array_equal(model(inputs).logits, model(inputs, training=False).logits)
    assert np.abs(model(inputs, training=True).logits - model(inputs, training=True).logits).max() > 0


def test_each_dropout_is_where_the_paper_has_it():
    for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop"):
        off = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
        model = build(gpt_tf.TFOpenAIGPTModel, CONFIG.replace(**{**off, name: 0.5}))
        output = model(IDS, output_hidden_states=True, training=True)
        zeros = np.mean(output.hidden_states[0] == 0)
        assert (zeros > 0.3) == (name == "embd_pdrop")
        assert np.abs(output[0] - model(IDS, training=True)[0]).max() > 0


def test_gradient_checkpointing_changes_no_gradient():
    """In two steps with dropout: the backward pass draws it again, and the next step draws another."""
    results, calls = [], []
    for enabled in (False, True):
        keras.utils.set_random_seed(0)
        model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
        activation = model.trunk.h[0].mlp.activation
        model.trunk.h[0].mlp.activation = lambda x, activation=activation, on=enabled: calls.append(on) or activation(x)
        if enabled:
            model.gradient_checkpointing_enable()

        def step(model=model):
            with tf.GradientTape() as tape:
                loss = model(IDS, labels=IDS, head_mask=tf.constant([1.0, 0.5]), training=True).loss
            return [loss, *tape.gradient(loss, model.trainable_variables)]

        results.append([*step(), *step()])
    assert calls.count(True) == 2 * calls.count(False) > 0
    for expected, actual in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-6)


def test_gradient_checkpointing_can_be_switched_after_compile():
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    calls = []
    activation = model.trunk.h[0].mlp.activation
    model.trunk.h[0].mlp.activation = lambda x: calls.append(1) or activation(x)
    counts = []
    for switch in (model.gradient_checkpointing_disable, model.gradient_checkpointing_enable):
        before = len(calls)
        switch()
        model.fit(inputs_of(model), verbose=0)
        counts.append(len(calls) - before)
    assert counts == [1, 2]


def test_attention_can_be_switched_after_compile(monkeypatch):
    """What Keras and ``generate`` compiled for the other way is not used."""
    calls = []
    eager = gpt_tf.modeling.eager_attention
    monkeypatch.setattr(gpt_tf.modeling, "eager_attention", lambda *inputs: calls.append(1) or eager(*inputs))
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    for use in (lambda: model.predict(IDS, verbose=0), lambda: model.generate(IDS[:, :2], max_new_tokens=1)):
        model.attn_implementation = "sdpa"
        use()
        assert not calls
        model.attn_implementation = "eager"
        use()
        assert calls
        calls.clear()


def test_the_model_can_be_changed_in_a_callback():
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    model.compile(keras.optimizers.SGD(0.0), jit_compile=False, run_eagerly=True)

    def change(*_, **__):
        model.attn_implementation = "eager"
        model.gradient_checkpointing_enable()

    callback = keras.callbacks.LambdaCallback(on_epoch_end=change, on_train_batch_end=change)
    model.fit(inputs_of(model), epochs=2, callbacks=[callback], verbose=0)
    assert model.trunk.gradient_checkpointing
