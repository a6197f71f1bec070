"""The layers of a model: dropout in training only, and where the paper has it."""

import jax
import jax.numpy as jnp
from flax import nnx
from flax_models import CONFIG, IDS, build, every_model, largest_difference  # noqa: F401

import gpt_flax


def test_dropout_only_in_training(model):
    assert largest_difference(model(IDS), model(IDS)) == 0
    model.train()
    assert largest_difference(model(IDS)[0], model(IDS)[0]) > 0


def test_each_dropout_is_where_the_paper_has_it():
    for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop"):
        off = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
        model = build(gpt_flax.FlaxOpenAIGPTModel, CONFIG.replace(**{**off, name: 0.5}))
        model.train()
        output = model(IDS, output_hidden_states=True)
        zeros = (output.hidden_states[0] == 0).mean()
        assert (zeros > 0.3) == (name == "embd_pdrop")
        assert jnp.abs(model(IDS).last_hidden_state - model(IDS).last_hidden_state).max() > 0


def test_attention_dropout_stays_on_above_a_layer_in_evaluation_mode():
    off = {"embd_pdrop": 0.0, "attn_pdrop": 0.5, "resid_pdrop": 0.0}
    model = build(gpt_flax.FlaxOpenAIGPTModel, CONFIG.replace(n_layer=2, **off))
    model.train()
    model.h[0].eval()
    assert jnp.abs(model(IDS).last_hidden_state - model(IDS).last_hidden_state).max() > 0


def test_gradient_checkpointing_changes_no_gradient():
    """In two steps with dropout: the backward pass draws it again, and the next step draws another."""
    head_mask = jnp.array([1.0, 0.5])
    step = nnx.jit(nnx.value_and_grad(lambda model: model(IDS, labels=IDS, head_mask=head_mask).loss))
    results = []
    for enable in (False, True):
        model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
        if enable:
            model.gradient_checkpointing_enable()
        model.train()
        results.append([step(model), step(model), nnx.state(model, nnx.RngCount)])
    assert largest_difference(*results) < 1e-6
    graph, state = nnx.split(model)
    assert "remat" in str(jax.make_jaxpr(lambda state: nnx.merge(graph, state)(IDS).logits)(state))
