"""Creating, loading and resizing a model: seeds, random streams, and inside a compiled program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax_models import CONFIG, IDS, build, every_model, largest_difference, weights  # noqa: F401

import gpt_flax
from gpt_flax.weights import parameters_of, transform_of
from gptcore import ConfigError, InputError
from gptcore.spec.parameters import initial_value, parameters


@pytest.mark.parametrize(
    ("options", "seed"),
    [
        ({}, 0),
        ({"rngs": nnx.Rngs(7), "seed": 0}, 0),
        ({"rngs": nnx.Rngs(7), "seed": 3}, 3),
        ({"rngs": nnx.Rngs(dropout=7)}, 0),
        ({"rngs": nnx.Rngs(params=7), "seed": 0}, 0),
    ],
    ids=str,
)
def test_a_seed_gives_the_weights_of_every_framework(options, seed):
    model_class = gpt_flax.FlaxOpenAIGPTForSequenceClassification
    found = parameters_of(model_class(CONFIG, **options))
    for name, parameter in parameters(CONFIG, model_class.head).items():
        expected = transform_of(parameter)(initial_value(parameter, CONFIG, seed))
        np.testing.assert_array_equal(found[name].get_value(), expected)


@pytest.mark.parametrize("stream", ["default", "params"])
def test_rngs_seed_the_weights(stream):
    def member(seed):
        return weights(gpt_flax.FlaxOpenAIGPTModel(CONFIG, rngs=nnx.Rngs(**{stream: seed})))

    assert largest_difference(member(0), member(0)) == 0
    assert largest_difference(member(0), member(1)) > 0.01


@pytest.mark.parametrize("rngs", [0, jax.random.key(0)], ids=["int", "key"])
def test_rngs_of_another_type(rngs):
    with pytest.raises(InputError, match=r"rngs must be nnx.Rngs; got .* Pass nnx.Rngs\("):
        gpt_flax.FlaxOpenAIGPTModel(CONFIG, rngs=rngs)
    with pytest.raises(InputError, match=r"rngs must be nnx.Rngs; got .* Pass nnx.Rngs\("):
        gpt_flax.FlaxOpenAIGPTModel.from_pretrained("nowhere", rngs=rngs)


def test_an_ensemble_by_vmap():
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def create(rngs):
        return gpt_flax.FlaxOpenAIGPTModel(CONFIG, rngs=rngs)

    kernels = np.asarray(create(nnx.Rngs(0)).h[0].mlp.c_fc.kernel.get_value())
    assert kernels.shape == (3, 14, 56)
    assert len(np.unique(kernels)) == kernels.size


@pytest.mark.parametrize("seed", [0, 3])
def test_the_seed_of_a_head_that_the_checkpoint_lacks(tmp_path, seed):
    build(gpt_flax.FlaxOpenAIGPTLMHeadModel).save_pretrained(tmp_path)
    model_class = gpt_flax.FlaxOpenAIGPTForSequenceClassification
    model = model_class.from_pretrained(tmp_path, seed=seed)
    fresh = model_class(CONFIG, seed=seed)
    assert largest_difference(weights(model.score), weights(fresh.score)) == 0
    assert largest_difference(weights(model.transformer), weights(build(type(model.transformer)))) == 0
    streams = [model, fresh, model_class.from_pretrained(tmp_path, rngs=nnx.Rngs(dropout=seed))]
    first, *others = ([jax.random.key_data(key) for key in jax.tree.leaves(nnx.state(m, nnx.RngKey))] for m in streams)
    assert all(np.array_equal(first, keys) for keys in others)


@pytest.mark.parametrize("options", [{"seed": 3, "dtype": "bfloat16"}, {"rngs": True}, {"seed": None}], ids=str)
def test_creation_inside_a_program(options):
    def create():
        rngs = {"rngs": nnx.Rngs(5)} if "rngs" in options else {}
        return gpt_flax.FlaxOpenAIGPTForSequenceClassification(CONFIG, **{**options, **rngs})

    expected = create()
    assert largest_difference(weights(nnx.jit(create)()), weights(expected)) == 0
    abstract = nnx.state(nnx.eval_shape(create))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), abstract) == jax.tree.map(
        lambda x: (x.shape, x.dtype), nnx.state(expected)
    )


def test_loading_inside_a_program(tmp_path):
    model_class = gpt_flax.FlaxOpenAIGPTForSequenceClassification
    build(model_class).save_pretrained(tmp_path)
    loaded = nnx.jit(lambda: model_class.from_pretrained(tmp_path))()
    assert largest_difference(weights(loaded), weights(build(model_class))) == 0
    assert nnx.eval_shape(lambda: model_class.from_pretrained(tmp_path)).score.kernel.get_value().shape == (14, 3)


def test_resizing(model):
    before = model(IDS, output_hidden_states=True).hidden_states[-1]
    table = model.resize_token_embeddings(47)
    assert table is model.get_input_embeddings()
    assert (model.config.vocab_size, CONFIG.vocab_size) == (47, 41)
    assert largest_difference(model(IDS, output_hidden_states=True).hidden_states[-1], before) == 0
    assert table(jnp.array([46])).shape == (1, 14)
    with pytest.raises(ConfigError, match="vocab_size must be"):
        model.resize_token_embeddings(0)


def test_float64_says_how_to_enable_it():
    with pytest.raises(ConfigError, match="jax_enable_x64"):
        gpt_flax.FlaxOpenAIGPTModel(CONFIG, dtype="float64")
