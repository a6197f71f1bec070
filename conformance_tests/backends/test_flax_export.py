"""Models as programs of ``jax.export``."""

import jax
import jax.numpy as jnp
import numpy as np
from flax_models import IDS, build, every_model, largest_difference  # noqa: F401
from jax import export

import gpt_flax


def test_export(model):
    """With lengths and batches that are not known yet; what comes back is of the same type, a cache in it too."""
    cached = type(model) is gpt_flax.FlaxOpenAIGPTLMHeadModel
    options, constraints = ({"use_cache": True}, ["length <= 13"]) if cached else ({}, [])  # slots are not symbolic
    batch, length = export.symbolic_shape("batch, length", constraints=constraints)
    program = jax.jit(lambda ids, mask: model(ids, mask, output_hidden_states=True, **options))
    ids = jax.ShapeDtypeStruct((batch, length), jnp.int32)
    loaded = export.deserialize(export.export(program)(ids, ids).serialize())
    mask = np.array([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]], np.int32)
    found, expected = loaded.call(IDS.astype(np.int32), mask), model(IDS, mask, output_hidden_states=True, **options)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    assert largest_difference((found[0], found.hidden_states), (expected[0], expected.hidden_states)) < 1e-5


def test_export_of_a_step_with_a_cache():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    cache = model(IDS, use_cache=True).past_key_values
    ids = np.array([[1], [2]], np.int32)
    program = jax.jit(lambda ids, cache: model(ids, past_key_values=cache))
    loaded = export.deserialize(export.export(program)(ids, cache).serialize())
    assert largest_difference(loaded.call(ids, cache), model(ids, past_key_values=cache)) < 1e-5


def test_export_of_generation():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    ids = jax.ShapeDtypeStruct(export.symbolic_shape("batch, 5"), jnp.int32)
    settings = {"max_new_tokens": 3, "do_sample": True, "top_k": 20, "top_p": 0.9, "min_p": 0.01}
    exported = export.export(jax.jit(lambda ids: model.generate(ids, **settings)))(ids)
    np.testing.assert_array_equal(exported.call(IDS.astype(np.int32)), model.generate(IDS, **settings))
