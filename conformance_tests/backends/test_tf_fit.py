"""``compile``, ``fit`` and ``evaluate``: losses, weights and metrics are those that a Keras user expects."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_replicas
from tf_replicas import CASES, CHOICES, CLASSES, CONFIG, DOUBLE, IDS, LM, PAIRS, RAGGED, WEIGHTS

import gpt_tf
from gptcore import ConfigError, InputError

CLASSIFIER = gpt_tf.TFOpenAIGPTForSequenceClassification
X, OWN = {"input_ids": IDS}, {"input_ids": IDS, "labels": CLASSES}
LM_OWN, TWO = {"input_ids": IDS, "labels": RAGGED}, {"input_ids": PAIRS, "labels": PAIRS, "mc_labels": CHOICES}
PER_TOKEN = tf.data.Dataset.from_tensors((X, {"labels": RAGGED}, np.ones((10, 5))))
SPARSE = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def compiled(model_class, optimizer="sgd", **options):
    model = model_class(CONFIG)
    model.compile(optimizer, run_eagerly=True, **options)
    return model


def weights_of(model):
    return np.concatenate([v.numpy().ravel() for v in model.trainable_variables])


@pytest.fixture(scope="module")
def replicas():
    """A process of its own: devices can be split before TensorFlow starts only."""
    command = [sys.executable, tf_replicas.__file__]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr[-2000:]
    return json.loads(out.stdout)


@pytest.mark.parametrize("case", CASES)
def test_replicas_train_like_one(replicas, case):
    found = replicas[case]
    assert found["together"] == pytest.approx(found["alone"], rel=1e-5)
    assert found["distance"] < 1e-5


def test_a_model_computes_on_the_chosen_device(replicas):
    assert replicas["on"] == ["CPU:1", ["CPU:0", "CPU:1"]]


WEIGHTED = {
    "argument": lambda model: model.evaluate(OWN, sample_weight=WEIGHTS, verbose=0),
    "y": lambda model: model.evaluate(X, CLASSES, sample_weight=WEIGHTS, verbose=0),
    "named y": lambda model: model.evaluate(X, {"labels": CLASSES}, sample_weight=WEIGHTS, verbose=0),
    "dataset": lambda model: model.evaluate(tf.data.Dataset.from_tensors((X, CLASSES, WEIGHTS)), verbose=0),
    "named dataset": lambda model: model.evaluate(
        tf.data.Dataset.from_tensors((X, {"labels": CLASSES}, WEIGHTS)), verbose=0
    ),
    "column": lambda model: model.evaluate(OWN, sample_weight=WEIGHTS[:, None], verbose=0),
    "batch": lambda model: model.test_on_batch(OWN, sample_weight=WEIGHTS),
    "by position": lambda model: model.evaluate(OWN, None, 10, 0, WEIGHTS),
    "batch, by position": lambda model: model.train_on_batch(OWN, None, WEIGHTS),
    "validation": lambda model: model.fit(OWN, validation_data=(OWN, None, WEIGHTS), verbose=0).history["val_loss"][0],
    "list": lambda model: model.fit(OWN, validation_data=[OWN, None, WEIGHTS], verbose=0).history["val_loss"][0],
}


@pytest.mark.parametrize("way", WEIGHTED)
def test_sample_weight_is_that_of_a_compiled_loss(way):
    expected = compiled(CLASSIFIER, loss=SPARSE).evaluate(X, CLASSES, sample_weight=WEIGHTS, batch_size=10, verbose=0)
    model = compiled(CLASSIFIER, keras.optimizers.SGD(0.0))
    assert WEIGHTED[way](model) == pytest.approx(expected, rel=1e-5)
    assert model.evaluate(OWN, verbose=0) != pytest.approx(expected, rel=1e-3)


def test_examples_of_weight_0_train_nothing():
    for model_class, inputs in ((CLASSIFIER, OWN), (LM, LM_OWN), (DOUBLE, TWO)):
        model = compiled(model_class)
        before = weights_of(model)
        model.fit(inputs, sample_weight=np.zeros(len(inputs["input_ids"])), verbose=0)
        np.testing.assert_array_equal(weights_of(model), before)


def test_a_weight_of_an_example_is_that_of_its_tokens():
    model = compiled(LM)
    output = model(LM_OWN)
    each = keras.ops.sparse_categorical_crossentropy(np.maximum(RAGGED[:, 1:], 0), output.logits[:, :-1], True)
    counts = RAGGED[:, 1:] != -100
    expected = (each * counts * WEIGHTS[:, None]).numpy().sum() / counts.sum()
    assert model.evaluate(LM_OWN, sample_weight=WEIGHTS, batch_size=10, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_class_weight():
    class_weight = {0: 0.25, 1: 3.0}
    of_examples = np.array([class_weight[label] for label in CLASSES])
    histories = [
        compiled(CLASSIFIER, loss=loss).fit(*data, shuffle=False, verbose=0, **weights).history["loss"]
        for loss, data, weights in (
            (SPARSE, (X, CLASSES), {"class_weight": class_weight}),
            (None, (OWN,), {"class_weight": class_weight}),
            (None, (X, CLASSES), {"class_weight": class_weight}),
            (None, (X, {"labels": CLASSES}), {"class_weight": class_weight}),
            (None, (tf.data.Dataset.from_tensors(OWN),), {"class_weight": class_weight}),
            (None, (tf.data.Dataset.from_tensors((X, {"labels": CLASSES})),), {"class_weight": class_weight}),
            (None, (OWN,), {"sample_weight": of_examples}),
        )
    ]
    by_position = (None, 10, 1, 0, None, 0.0, None, False, class_weight)
    histories.append(compiled(CLASSIFIER).fit(OWN, *by_position).history["loss"])
    assert histories[1:] == [pytest.approx(histories[0], rel=1e-5)] * 7


def test_a_loss_of_a_subclass_gets_what_fit_got():
    """With the model's own loss underneath, as after ``compile(optimizer)``."""

    class Doubled(CLASSIFIER):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            np.testing.assert_array_equal(y, CLASSES)
            return 2 * super().compute_loss(x, y, y_pred, sample_weight, training)

    single, double = (compiled(each).evaluate(X, CLASSES, verbose=0) for each in (CLASSIFIER, Doubled))
    assert double == pytest.approx(2 * single)


TWO_APART = {"input_ids": PAIRS, "labels": PAIRS}, {"mc_labels": CHOICES}


@pytest.mark.parametrize(
    ("model_class", "data", "weights"),
    [(CLASSIFIER, (IDS, CLASSES), None), (CLASSIFIER, (X, {"labels": CLASSES}), WEIGHTS), (DOUBLE, TWO_APART, None)],
)
def test_a_train_step_of_a_subclass_finds_the_labels(model_class, data, weights):
    """It gets ``x`` and ``y`` as the user passed them, and calls the model without the labels of ``y``."""

    class Own(model_class):
        def train_step(self, data):
            x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
            output = self(x)
            self.metrics[0].update_state(self.compute_loss(x, y, output, weights))
            return self.compute_metrics(x, y, output, weights)

    metrics = {"mc_logits" if model_class is DOUBLE else "logits": ["accuracy"]}
    options = {"sample_weight": weights, "batch_size": 10, "verbose": 0}
    found = compiled(Own, metrics=metrics).fit(*data, **options).history
    expected = compiled(model_class, metrics=metrics).evaluate(*data, return_dict=True, **options)
    assert {name: values[0] for name, values in found.items()} == pytest.approx(expected, rel=1e-5)


def test_a_call_of_a_subclass_may_take_ids_alone_and_return_logits_alone():
    class Own(CLASSIFIER):
        def call(self, input_ids, training=None):
            return super().call(input_ids, training=training).logits

    own, expected = (compiled(each, loss=SPARSE, metrics=["accuracy"]) for each in (Own, CLASSIFIER))
    assert own.evaluate(IDS, CLASSES, verbose=0) == pytest.approx(expected.evaluate(IDS, CLASSES, verbose=0))
    np.testing.assert_allclose(own.predict(IDS, verbose=0), expected(IDS).logits, atol=1e-6)


REFUSED = {
    "y beside labels": (CLASSIFIER, (OWN, CLASSES), {}, "labels must be in the inputs or in y; got both"),
    "tokens without a name": (LM, (X, IDS), {}, r"y must be a dict with keys among \['labels'\].*got an array"),
    "another name": (LM, (X, {"mc_labels": CLASSES}), {}, r"y must be a dict .*got \['mc_labels'\]"),
    "two arrays": (CLASSIFIER, ((IDS, IDS), CLASSES), {}, r"x must be an array, or a dict of arrays; got a list of 2"),
    "names of classes": (CLASSIFIER, (X, ["pos"] * 10), {}, r"labels must be numbers; got text. Map them"),
    "another column": (LM, ({**X, "label": RAGGED},), {}, r"inputs must be among .*'labels'.*got \['label'\]"),
    "no labels": (LM, (X,), {}, "cannot compute a loss: labels are missing. Add them to the inputs"),
    "a weight per token": (LM, (PER_TOKEN,), {}, r"sample_weight must have the shape \(batch,\); got \(10, 5\)"),
    "classes of tokens": (LM, (LM_OWN,), {"class_weight": {0: 2.0}}, "class_weight must be None for labels that are"),
}


def test_a_compiled_loss_without_y_is_an_error():
    with pytest.raises(InputError, match="y must hold the targets of the compiled loss; got None"):
        compiled(CLASSIFIER, loss=SPARSE).evaluate(OWN, verbose=0)
    with pytest.raises(InputError, match=r"y must be .* keys among \['logits'\] .*; got \['labels'\]"):
        compiled(CLASSIFIER, loss=SPARSE).evaluate(X, {"labels": CLASSES}, verbose=0)


@pytest.mark.parametrize("case", REFUSED)
def test_what_the_own_loss_cannot_use_is_an_error(case):
    model_class, data, options, message = REFUSED[case]
    model = compiled(model_class)
    with pytest.raises(InputError, match=message):
        model.fit(*data, shuffle=False, verbose=0, **options)


def test_loss_weights(tmp_path):
    losses = DOUBLE(CONFIG)(TWO)
    for loss_weights in ({}, {"loss": 0.5}, {"mc_loss": 0.0}, {"loss": 2.0, "mc_loss": 3.0}):
        expected = sum(losses[name] * loss_weights.get(name, 1) for name in ("loss", "mc_loss"))
        model = compiled(DOUBLE, loss_weights=loss_weights)
        assert model.evaluate(TWO, verbose=0) == pytest.approx(float(expected), rel=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.evaluate(TWO, verbose=0) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("loss_weights", [{"mc_loss": 1.0}, {"lm_loss": 1.0}, [0.5]])
def test_loss_weights_of_no_loss(loss_weights):
    model = compiled(LM, loss_weights=loss_weights)
    with pytest.raises(ConfigError, match=r"loss_weights must be a dict with keys among \['loss'\]"):
        model.fit(LM_OWN, verbose=0)


def test_each_head_may_have_a_compiled_loss():
    losses = {"mc_logits": SPARSE, "logits": SPARSE}
    model = compiled(
        DOUBLE, loss=losses, loss_weights={"mc_logits": 3.0, "logits": 0.0}, metrics={"mc_logits": ["acc"]}
    )
    y = {"mc_logits": CHOICES, "logits": PAIRS}
    found = model.evaluate({"input_ids": PAIRS}, y, return_dict=True, verbose=0)
    output = model(TWO)
    assert found["loss"] == pytest.approx(3 * float(output.mc_loss), rel=1e-5)
    assert found["mc_logits_acc"] == np.mean(np.argmax(output.mc_logits, -1) == CHOICES)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_metrics_see_labels_and_logits(jit_compile):
    model = LM(CONFIG)
    model.compile(
        "sgd", metrics=["accuracy"], weighted_metrics=["sparse_categorical_accuracy"], jit_compile=jit_compile
    )
    found = model.evaluate(LM_OWN, sample_weight=WEIGHTS, return_dict=True, verbose=0)
    hits = np.argmax(model(IDS).logits[:, :-1], -1) == RAGGED[:, 1:]
    counts = RAGGED[:, 1:] != -100
    assert found["accuracy"] == pytest.approx(hits.sum() / counts.sum(), rel=1e-5)
    weights = counts * WEIGHTS[:, None]
    assert found["sparse_categorical_accuracy"] == pytest.approx((hits * weights).sum() / weights.sum(), rel=1e-5)


METRICS = {
    "classes": (CLASSIFIER, OWN, {}, ["accuracy"], {"accuracy"}),
    "small integers": (CLASSIFIER, {**X, "labels": np.uint8(CLASSES)}, {}, ["accuracy"], {"accuracy"}),
    "scores": (CLASSIFIER, {**X, "labels": WEIGHTS}, {"num_labels": 1}, ["mse"], {"mse"}),
    "several at once": (
        CLASSIFIER,
        {**X, "labels": np.eye(2, dtype="f")[CLASSES]},
        {},
        [keras.metrics.AUC(name="auc")],
        {"auc"},
    ),
    "one of two heads": (DOUBLE, {**TWO, "labels": None}, {}, ["accuracy"], {"accuracy"}),
    "two heads": (
        DOUBLE,
        TWO,
        {},
        {"mc_logits": ["accuracy"], "logits": ["acc"]},
        {"mc_logits_accuracy", "logits_acc"},
    ),
}


@pytest.mark.parametrize("case", METRICS)
def test_metrics_of_each_head(case):
    model_class, inputs, changes, metrics, names = METRICS[case]
    model = model_class(CONFIG.replace(**changes))
    model.compile("sgd", metrics=metrics, run_eagerly=True)
    inputs = {name: value for name, value in inputs.items() if value is not None}
    found = model.evaluate(inputs, return_dict=True, verbose=0)
    assert set(found) == {"loss", *names}
    output = model(inputs)
    assert found["loss"] == pytest.approx(float(sum(output[n] for n in output if n.endswith("loss"))), rel=1e-5)
