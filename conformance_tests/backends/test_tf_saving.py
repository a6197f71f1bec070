"""What comes back of a model after Keras or TensorFlow saved it, alone and as a part of another."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import gpt_tf
from gpt_tf.training import adamw
from gpt_tf.weights import parameters_of
from gptcore import CheckpointError, OpenAIGPTConfig
from gptcore.spec.parameters import parameters
from gptcore.spec.recipe import Recipe

CONFIG = OpenAIGPTConfig(vocab_size=31, n_positions=7, n_embd=6, n_layer=2, n_head=2, num_labels=3)
IDS = np.arange(10).reshape(2, 5)
MODELS = {
    gpt_tf.TFOpenAIGPTModel: IDS,
    gpt_tf.TFOpenAIGPTLMHeadModel: IDS,
    gpt_tf.TFOpenAIGPTDoubleHeadsModel: IDS[:, None],
    gpt_tf.TFOpenAIGPTForSequenceClassification: IDS,
}
each_model = pytest.mark.parametrize("model_class", MODELS, ids=lambda model_class: model_class.__name__)


class Around(keras.Model):
    """A head of one's own on our trunk."""

    def __init__(self, trunk, **options):
        super().__init__(**options)
        self.trunk, self.dense = trunk, keras.layers.Dense(3)

    def call(self, ids):
        return self.dense(self.trunk(ids).last_hidden_state)

    def get_config(self):
        return {**super().get_config(), "trunk": keras.saving.serialize_keras_object(self.trunk)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "trunk": keras.saving.deserialize_keras_object(config["trunk"])})


class Named(Around):
    """The same, with its inputs as a dict."""

    def call(self, inputs):
        return self.dense(self.trunk(inputs).last_hidden_state)


class Below(gpt_tf.TFOpenAIGPTModel):
    """A subclass with a layer more."""

    def __init__(self, config, **options):
        super().__init__(config, **options)
        self.probe = keras.layers.Dense(3)

    def call(self, input_ids=None, **inputs):
        return self.probe(super().call(input_ids, **inputs).last_hidden_state)


def functional():
    ids = keras.Input((5,), dtype="int32")
    return keras.Model(ids, keras.layers.Dense(3)(gpt_tf.TFOpenAIGPTModel(CONFIG)(ids).last_hidden_state))


MIXED = {
    "around": (lambda: Around(gpt_tf.TFOpenAIGPTModel(CONFIG)), IDS),
    "around, named": (lambda: Named(gpt_tf.TFOpenAIGPTModel(CONFIG)), {"input_ids": IDS, "attention_mask": IDS > 2}),
    "subclass": (lambda: Below(CONFIG), IDS),
    "functional": (functional, IDS),
}


@pytest.mark.parametrize("case", MIXED)
def test_models_of_ours_and_of_the_user(case, tmp_path):
    make, inputs = MIXED[case]
    model = make()
    expected = model(inputs).numpy()
    model.save(tmp_path / "model.keras")
    classes = {kind.__name__: kind for kind in (Around, Named, Below)}
    loaded = keras.saving.load_model(tmp_path / "model.keras", custom_objects=classes)
    np.testing.assert_array_equal(loaded(inputs).numpy(), expected)


def test_weights_that_no_checkpoint_holds_are_an_error(tmp_path):
    model = Below(CONFIG)
    model.save_pretrained(tmp_path)
    model.tokens_embed = keras.layers.Embedding(31, 6)  # Keras goes on to track the first one
    model(IDS)
    names = [variable.path for variable in (*model.probe.weights, model.tokens_embed.embeddings)]
    with pytest.raises(CheckpointError, match="no place for these parameters") as caught:
        model.save_pretrained(tmp_path)
    assert str(caught.value).endswith("\n".join(["", *(f"  - {name}" for name in names)]))


def test_frozen_layers_stay_frozen(tmp_path):
    model = gpt_tf.TFOpenAIGPTForSequenceClassification(CONFIG)
    for layer in (model.transformer.tokens_embed, model.transformer.h[0], model.transformer.h[1].mlp):
        layer.trainable = False
    trainable = [v.path for v in model.trainable_variables]
    model.save(tmp_path / "model.keras")
    for same in (keras.saving.load_model(tmp_path / "model.keras"), keras.models.clone_model(model)):
        assert [v.path for v in same.trainable_variables] == trainable


def test_the_settings_of_generation_are_saved():
    model = gpt_tf.TFOpenAIGPTLMHeadModel(CONFIG)
    model.generation_config = model.generation_config.replace(max_new_tokens=3)
    assert keras.models.clone_model(model).generation_config == model.generation_config


def test_adapters_are_not_dropped(tmp_path):
    model = gpt_tf.TFOpenAIGPTLMHeadModel(CONFIG)
    count = model.num_parameters()
    adapted = keras.Sequential([model.transformer.h[1].attn.c_attn])
    attn = model.transformer.h[1].attn
    attn._tracker.unlock()
    attn.c_attn = adapted
    with pytest.raises(CheckpointError, match=r"merge and unload .*\n  - h.1.attn.c_attn.weight"):
        model.save_pretrained(tmp_path)
    attn.lora = keras.layers.Dense(2)
    attn.lora.build((None, 3))
    assert model.num_parameters() == count + 3 * 2 + 2


def test_float_ids_are_still_an_error():
    model = gpt_tf.TFOpenAIGPTModel(CONFIG)
    for ids in (IDS.astype(np.float32), keras.Input((5,))):
        with pytest.raises(ValueError, match="input_ids must have an integer dtype; got float32"):
            model(ids)
    graph = tf.function(lambda ids: model(ids).last_hidden_state)
    with pytest.raises(ValueError, match="input_ids must have an integer dtype; got float32"):
        graph(tf.zeros((2, 5)))


@each_model
def test_build_makes_nothing_twice(model_class):
    model = model_class(CONFIG)
    expected, variables = model(MODELS[model_class])[0].numpy(), len(model.variables)
    model.build((None, 5))
    model.build()
    assert len(model.variables) == variables
    np.testing.assert_array_equal(model(MODELS[model_class])[0], expected)


@each_model
def test_a_tensorflow_checkpoint_has_every_weight(model_class, tmp_path):
    model, other = model_class(CONFIG, seed=1), model_class(CONFIG, seed=2)
    path = tf.train.Checkpoint(model).write(tmp_path / "checkpoint")
    tf.train.Checkpoint(other).read(path).assert_consumed()
    stored = [name for name, _ in tf.train.list_variables(path) if name.endswith("VARIABLE_VALUE")]
    assert len(stored) == len(parameters(CONFIG, model_class.head))
    for expected, found in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_what_does_not_decay_comes_back(tmp_path):
    model = gpt_tf.TFOpenAIGPTLMHeadModel(CONFIG, name="beta")
    for variable in model.weights:
        variable.assign(tf.ones_like(variable))
    model.compile(adamw(model, Recipe(warmup_steps=0, learning_rate=0.1), 3), run_eagerly=True)
    model.save(tmp_path / "model.keras")
    table = parameters(CONFIG, model.head)
    for each in (model, keras.saving.load_model(tmp_path / "model.keras")):
        each.fit({"input_ids": IDS, "labels": IDS * 0 - 100}, verbose=0)  # nothing to learn
        for name, variable in parameters_of(each).items():
            assert (variable.numpy() != 1).all() == table[name].kind.decays, name


@each_model
def test_export_without_a_signature(model_class, tmp_path):
    model, ids = model_class(CONFIG), MODELS[model_class].astype(np.int32)
    model.export(tmp_path / "exported", verbose=False)
    artifact = tf.saved_model.load(tmp_path / "exported")
    for part in (ids, ids[:1, ..., :3]):
        found, expected = artifact.serve(part), model(part)
        for name in expected:
            np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_weights_that_no_checkpoint_holds_are_not_dropped(tmp_path):
    model = gpt_tf.TFOpenAIGPTModel(CONFIG, seed=0)
    model.probe = keras.layers.Dense(2, name="probe")
    model.probe.build((None, 6))
    with pytest.raises(CheckpointError, match=r"(?s)cannot save .* no place for .*probe/kernel"):
        model.save_pretrained(tmp_path)


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
