"""The trainer and the optimizer, also in ``fit``."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from tf_models import CONFIG, IDS, build, every_model, inputs_of, same_dropout_in_each_run  # noqa: F401

import gpt_tf
from gpt_tf.training import AdamW, Trainer, adamw
from gpt_tf.weights import export
from gptcore.spec.recipe import Recipe


def test_fit_with_the_models_own_loss(model):
    inputs = inputs_of(model)
    model.compile(keras.optimizers.Adam(1e-2))
    before = model.evaluate(inputs, verbose=0)
    model.fit(inputs, epochs=8, verbose=0)
    assert model.evaluate(inputs, verbose=0) < before


def test_fit_with_a_stock_loss_on_logits():
    model = build(gpt_tf.TFOpenAIGPTForSequenceClassification)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-2), loss=loss, metrics=["accuracy"])
    inputs, labels = {"input_ids": IDS}, np.array([2, 0])
    before = model.evaluate(inputs, labels, verbose=0)
    assert "accuracy" in model.fit(inputs, labels, epochs=8, verbose=0).history
    after = model.evaluate(inputs, labels, verbose=0)
    assert after[0] < before[0]
    assert after[0] == pytest.approx(float(model({**inputs, "labels": labels}).loss), rel=1e-5)


def test_one_program_for_all_steps_of_training():
    trainer = Trainer(build(gpt_tf.TFOpenAIGPTLMHeadModel), Recipe(), 6)
    for step in range(3):
        trainer.step(step, {"input_ids": IDS, "labels": IDS})
    trainer.restore(3, list(trainer.weights()), list(trainer.moments()))
    trainer.step(3, {"input_ids": IDS, "labels": IDS})
    assert trainer.update.experimental_get_tracing_count() == 1


def test_the_optimizer_in_fit(tmp_path):
    """It gives what ``Trainer`` gives, and comes back from a .keras file."""
    recipe, quiet = (
        Recipe(warmup_steps=0, learning_rate=0.01),
        {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    )
    trainer = Trainer(build(gpt_tf.TFOpenAIGPTLMHeadModel, CONFIG.replace(**quiet)), recipe, 3)
    expected = [trainer.step(step, {"input_ids": IDS, "labels": IDS})["loss"] for step in range(3)]
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel, CONFIG.replace(**quiet))
    model.compile(adamw(model, recipe, 3))
    inputs = {"input_ids": IDS, "labels": IDS}
    found = [model.fit(inputs, batch_size=2, verbose=0).history["loss"][0] for _ in range(3)]
    assert found == pytest.approx(expected, rel=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.optimizer.get_config() == model.optimizer.get_config()
    assert float(again.optimizer.learning_rate) == float(model.optimizer.learning_rate)


GRADIENTS = [[3.0, 4.0], [-1.0, 0.5]]


CLIPPED = {
    "at once": ({}, GRADIENTS),
    "accumulated": ({"gradient_accumulation_steps": 2}, GRADIENTS),
    "scaled": ({"loss_scale_factor": 8.0}, GRADIENTS),
    "one missing": ({}, [[3.0, None], [-1.0, None]]),  # as of a head whose labels are not passed
}


@pytest.mark.parametrize("case", [("float32", True), ("bfloat16", False), ("float32", False)], ids=str)
def test_the_optimizer_is_adamw_of_keras(case):
    """Without an epsilon, which Keras adds elsewhere."""
    dtype, amsgrad = case
    found = []
    for kind in (AdamW, keras.optimizers.AdamW):
        exact = "float32" if kind is keras.optimizers.AdamW else dtype  # Keras' own does not move bfloat16
        weight, optimizer = keras.Variable(0.0, dtype=exact), kind(0.1, epsilon=1e-12, amsgrad=amsgrad)
        for gradient in (3.0, -1.0, 0.01, 0.01):
            optimizer.apply([tf.constant(gradient, exact)], [weight])
        found.append(float(weight))
    assert found[0] == pytest.approx(found[1], rel=1e-5 if dtype == "float32" else 0.05)


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize("case", CLIPPED)
def test_the_optimizer_clips_where_keras_does(case):
    settings, gradients = CLIPPED[case]
    found = []
    for clipping in ({"max_grad_norm": 0.1}, {"global_clipnorm": 0.1}):
        weights = [keras.Variable(1.0), keras.Variable(2.0)]
        optimizer = AdamW(0.1, epsilon=0.1, **clipping, **settings)
        for gradient in gradients:
            optimizer.apply([g if g is None else tf.constant(g) for g in gradient], weights)
        found.append([float(weight) for weight in weights])
    assert found[0] == pytest.approx(found[1], rel=1e-6)


def test_frozen_layers_in_the_trainer():
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    model.transformer.h[0].trainable = False
    before = {name: value.copy() for name, value in export(model)}
    trainer = Trainer(model, Recipe(learning_rate=0.01, warmup_steps=0), 3)
    trainer.step(0, {"input_ids": IDS, "labels": IDS})
    moments = dict(trainer.moments())
    for name, value in trainer.weights():
        still = name.startswith("h.0.")
        assert (value == before[name]).all() == still, name
        assert (moments[f"exp_avg_sq.{name}"] == 0).all() == still, name
    trainer.restore(1, list(trainer.weights()), moments.items())
    trainer.step(1, {"input_ids": IDS, "labels": IDS})
