"""Models under the transformations of JAX and Flax, and their outputs as trees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from flax_models import CONFIG, IDS, MODELS, build, every_model, largest_difference  # noqa: F401

import gpt_flax
from gptcore.spec.parameters import Head


def test_transformations_change_nothing(model):
    inputs = {"input_ids": IDS, **MODELS[type(model)]}
    plain = model(**inputs)
    graph, state = nnx.split(model)
    under_nnx = nnx.jit(lambda model: model(**inputs))(model)
    under_jax = jax.jit(lambda state: nnx.merge(graph, state)(**inputs))(state)
    for output in (under_nnx, under_jax):
        assert type(output) is type(plain)
        assert list(output) == list(plain)
        assert largest_difference(output, plain) < 1e-5


def test_vmap(model):
    rows = jax.vmap(lambda row: model(row[None])[0][0])(jnp.asarray(IDS))
    assert largest_difference(rows, model(IDS)[0]) < 1e-5


@pytest.mark.parametrize("options", [{}, {"output_attentions": True, "return_dict": False}], ids=str)
def test_tabulate(model, options):
    """Flax replaces the methods of the classes meanwhile, and leaves them so if one raises."""
    before = model(IDS)
    options = {**MODELS[type(model)], **options}
    table = nnx.tabulate(model, IDS, **options, console_kwargs={"width": 200, "force_terminal": False})
    for row in ("h/0/attn/c_attn", "h/0/mlp/c_fc", "Total", "[2,5]", "embedding:"):
        assert row in table
    assert largest_difference(model(IDS), before) == 0


def test_gradients_under_nnx_grad():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    gradients = nnx.grad(lambda model: model(IDS, labels=IDS).loss)(model)
    assert jax.tree.structure(gradients) == jax.tree.structure(nnx.state(model, nnx.Param))
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_no_rank_is_promoted(model):
    model.train()
    options = {"attention_mask": np.ones_like(IDS), "head_mask": np.ones(2), "output_attentions": True}
    with jax.numpy_rank_promotion("raise"):
        model(IDS, **MODELS[type(model)])
        model(IDS, **MODELS[type(model)], **options)
        if model.head is Head.LM:
            model.generate(IDS, max_new_tokens=2, do_sample=True, top_k=5, top_p=0.9, min_p=0.1, eos_token_id=3)


def test_as_a_module_of_linen():
    module = nnx.bridge.to_linen(gpt_flax.FlaxOpenAIGPTLMHeadModel, CONFIG.replace(attn_pdrop=0, embd_pdrop=0))
    first, second = (module.init(jax.random.key(seed), IDS) for seed in (0, 1))
    assert largest_difference(first["params"], second["params"]) > 0.01
    outputs = [module.apply(first, IDS, rngs={"dropout": jax.random.key(seed)}).logits for seed in (0, 1)]
    assert largest_difference(*outputs) > 0


@pytest.mark.parametrize("tree", ["jax.tree.map", "jax.device_put", "nnx.jit"])
def test_outputs_are_trees(model, tree):
    output = model(IDS, **MODELS[type(model)], output_hidden_states=True)
    through = {
        "jax.tree.map": lambda: jax.tree.map(lambda x: x + 0, output),
        "jax.device_put": lambda: jax.device_put(output, jax.devices()[0]),
        "nnx.jit": lambda: nnx.jit(lambda output: output)(output),
    }[tree]()
    assert type(through) is type(output)
    assert list(through) == list(output)
    assert largest_difference(through, output) == 0
