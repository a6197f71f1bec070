"""Generation as one program, also inside a program of the user."""

import jax
import numpy as np
import pytest
from flax import nnx
from flax_models import CONFIG, IDS, build, largest_difference

import gpt_flax
from gpt_flax.generation import loop, run
from gptcore import InputError


def test_generation_compiles_once_a_bucket_and_follows_a_resize():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    for program, settings, programs in ((loop, {}, 1), (run, {"num_beams": 2}, 2)):  # the latter for prompt and step
        program.clear_cache()
        for length, seed in ((2, 0), (3, 1), (5, 2)):
            model.generate(IDS[:, :length], max_new_tokens=length + 1, seed=seed, **settings)
        assert program._cache_size() == programs
    model.resize_token_embeddings(10)
    ids = np.asarray(model.generate(IDS, max_new_tokens=4))
    assert ids.max() < 10
    np.testing.assert_array_equal(ids[:, 5], model(IDS).logits[:, -1].argmax(-1))


@pytest.mark.parametrize("settings", [{}, {"do_sample": True, "top_k": 5, "num_return_sequences": 2}, {"seed": 3}])
def test_generation_inside_a_program_of_the_user(settings):
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    mask = np.array([[0, 1, 1, 1, 1], [1, 1, 1, 1, 1]])
    eos = int(model.generate(IDS, max_new_tokens=4)[0, 6])
    prompt = np.where(mask, IDS, 1)
    mask = None if settings else mask  # by the padding
    settings = {"max_new_tokens": 4, "eos_token_id": eos, "pad_token_id": 1, **settings}
    seed = settings.pop("seed", 2)

    @jax.jit
    def doubled(ids, mask, seed):
        return model.generate(ids, mask, **settings, seed=seed) * 2

    ids = np.asarray(doubled(prompt, mask, seed)) // 2
    assert ids.shape == (2 * settings.get("num_return_sequences", 1), 9)
    outside = np.asarray(model.generate(prompt, mask, **settings, seed=seed))
    np.testing.assert_array_equal(ids[:, : outside.shape[1]], outside)
    assert (ids[:, outside.shape[1] :] == 1).all()


@pytest.mark.parametrize("settings", [{"num_beams": 2}, {"return_dict_in_generate": True}, {"stop_strings": "."}])
def test_what_needs_the_host_is_an_error_inside_a_program(settings):
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    with pytest.raises(InputError, match=f"cannot use {next(iter(settings))} inside jax.jit: this runs on the host"):
        jax.jit(lambda ids: model.generate(ids, **settings))(IDS)


def test_generation_inside_a_program_that_takes_the_model():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    ids = nnx.jit(lambda model: model.generate(IDS, max_new_tokens=3))(model)
    np.testing.assert_array_equal(ids, model.generate(IDS, max_new_tokens=3))
    with pytest.raises(InputError, match=r"shape \(batch, sequence\) inside jax.jit; got \(5,\)"):
        jax.jit(lambda ids: model.generate(ids, max_new_tokens=3))(IDS[0])
    for traced, known, advice in [
        ({"input_ids": IDS, "attention_mask": np.ones((2, 6))}, {}, r"shape \(2, 5\); got \(2, 6\)"),
        ({"input_ids": IDS}, {"streamer": print}, "cannot use streamer inside jax.jit"),
        (
            {"temperature": 0.5},
            {"input_ids": IDS},
            "temperature must be known inside jax.jit.* only seed may be traced",
        ),
    ]:
        with pytest.raises(InputError, match=advice):
            jax.jit(lambda traced, known=known: model.generate(max_new_tokens=3, **traced, **known))(traced)


@pytest.mark.parametrize("settings", [{}, {"do_sample": True}, {"num_beams": 2}], ids=str)
def test_generation_draws_no_dropout_and_keeps_the_mode(settings):
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel, CONFIG.replace(resid_pdrop=0.5, embd_pdrop=0.5, attn_pdrop=0.5))
    expected = model.generate(IDS, max_new_tokens=4, **settings)
    model.train()
    counts = nnx.state(model, nnx.RngCount)
    np.testing.assert_array_equal(model.generate(IDS, max_new_tokens=4, **settings), expected)
    if "num_beams" not in settings:
        inside = nnx.jit(lambda model: model.generate(IDS, max_new_tokens=4, **settings))(model)
        np.testing.assert_array_equal(inside, expected)
    assert not model.transformer.drop.deterministic
    assert largest_difference(counts, nnx.state(model, nnx.RngCount)) == 0
