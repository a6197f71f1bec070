"""What Keras users expect of a model, beyond the numbers."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from trained_scale import trained_scale

import gpt_tf
from gpt_tf.generation import programs_of
from gpt_tf.training import AdamW, Trainer, adamw
from gpt_tf.weights import assign, export
from gptcore import CheckpointError, ConfigError, InputError, OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.spec.recipe import Recipe

CONFIG = OpenAIGPTConfig(vocab_size=41, n_positions=13, n_embd=14, n_head=2, n_layer=1, num_labels=3)
IDS = np.arange(10).reshape(2, 5)
MODELS = {
    gpt_tf.TFOpenAIGPTLMHeadModel: {"labels": IDS},
    gpt_tf.TFOpenAIGPTDoubleHeadsModel: {"input_ids": IDS[:, None], "labels": IDS[:, None], "mc_labels": IDS[:, 0] * 0},
    gpt_tf.TFOpenAIGPTForSequenceClassification: {"labels": np.array([2, 0])},
}


@pytest.fixture(autouse=True)
def _same_dropout_in_each_run():
    keras.utils.set_random_seed(0)


def build(model_class, config=CONFIG, **options):
    model = model_class(config, seed=None, **options)
    assign(model, trained_scale(config, model.head))
    return model


@pytest.fixture(params=MODELS, ids=lambda model_class: model_class.__name__)
def model(request):
    return build(request.param)


def inputs_of(model):
    return {"input_ids": IDS, **MODELS[type(model)]}


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
    with pytest.raises(ConfigError, match="vocab_size=0"):
        model.resize_token_embeddings(0)


def test_generation_traces_once_a_bucket_and_follows_a_resize():
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    for name, settings, programs in (("loop", {}, 1), ("read", {"num_beams": 2}, 2)):  # the latter for prompt and step
        for length, seed in ((2, 0), (3, 1), (5, 2)):
            model.generate(IDS[:, :length], max_new_tokens=length + 1, seed=seed, **settings)
        assert getattr(programs_of(model), name).experimental_get_tracing_count() == programs
    model.resize_token_embeddings(10)
    ids = model.generate(IDS, max_new_tokens=4)
    assert ids.numpy().max() < 10
    np.testing.assert_array_equal(ids[:, 5], model(IDS).logits.numpy()[:, -1].argmax(-1))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("settings", [{}, {"do_sample": True, "top_k": 5, "num_return_sequences": 2}])
def test_generation_inside_a_graph_of_the_user(settings, jit_compile):
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    mask = tf.constant([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    eos = int(model.generate(IDS, max_new_tokens=4)[0, 6])
    prompt = np.where(mask, IDS, 1)
    mask = None if settings else mask  # by the padding
    settings = {"max_new_tokens": 4, "eos_token_id": eos, "pad_token_id": 1, **settings}

    @tf.function(jit_compile=jit_compile)
    def doubled(ids, mask):
        return model.generate(ids, mask, **settings) * 2

    ids = doubled(prompt, mask).numpy() // 2
    assert ids.shape == (2 * settings.get("num_return_sequences", 1), 9)
    outside = model.generate(prompt, mask, **settings).numpy()
    np.testing.assert_array_equal(ids[:, : outside.shape[1]], outside)
    assert (ids[:, outside.shape[1] :] == 1).all()


@pytest.mark.parametrize("settings", [{"num_beams": 2}, {"return_dict_in_generate": True}, {"stop_strings": "."}])
def test_what_needs_the_host_is_an_error_inside_a_graph(settings):
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    with pytest.raises(InputError, match=f"inside tf.function.*{next(iter(settings))} need the host"):
        tf.function(lambda ids: model.generate(ids, **settings), autograph=False)(IDS)
    with pytest.raises(InputError, match="streamer need the host"):
        tf.function(lambda ids: model.generate(ids, streamer=print), autograph=False)(IDS)
    with pytest.raises(InputError, match="input_ids must have an integer dtype; got float32"):
        tf.function(lambda ids: model.generate(ids, max_new_tokens=2), autograph=False)(IDS.astype("float32"))


def test_generation_inside_a_graph_needs_known_shapes():
    model = build(gpt_tf.TFOpenAIGPTLMHeadModel)
    signature = [tf.TensorSpec((None, 5), tf.int64)]
    generate = tf.function(lambda ids: model.generate(ids, max_new_tokens=3), signature, autograph=False)
    with pytest.raises(InputError, match=r"known, non-empty shape .* inside tf.function; got \(None, 5\)"):
        generate(IDS)


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


class WithValues(gpt_tf.TFOpenAIGPTLMHeadModel):
    """One more head."""

    def __init__(self, config):
        super().__init__(config)
        self.values = keras.layers.Dense(1, name="values")
        self.values.build((None, config.n_embd))


def test_parameters_without_a_place_in_the_files_are_not_dropped(tmp_path):
    with pytest.raises(CheckpointError, match=r"(?s)no place for these parameters.*\n  - values/kernel"):
        WithValues(CONFIG).save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


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
