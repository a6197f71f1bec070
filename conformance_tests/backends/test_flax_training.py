"""The trainer and the optimizer, also in a loop of your own and beside frozen weights."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from flax_models import CONFIG, IDS, build, largest_difference

import gpt_flax
from gpt_flax.training import Trainer, adamw
from gptcore import CheckpointError, ConfigError
from gptcore.spec.recipe import Recipe


def test_one_program_for_all_steps_of_training():
    """Also after going on from a checkpoint: where arrays are committed differently, JAX compiles once more."""
    trainer = Trainer(build(gpt_flax.FlaxOpenAIGPTLMHeadModel), Recipe(), 6)
    for step in range(3):
        trainer.step(step, {"input_ids": IDS, "labels": IDS})
    trainer.restore(3, list(trainer.weights()), list(trainer.moments()))
    trainer.step(3, {"input_ids": IDS, "labels": IDS})
    assert trainer.update._cache_size() == 1


@pytest.mark.parametrize("micro_batch_size", [None, 1])
def test_weights_moments_and_gradients_stay_where_they_are(micro_batch_size):
    """A step takes no new memory for them, which the system would have to clear."""
    recipe = Recipe(micro_batch_size=micro_batch_size)
    trainer = Trainer(build(gpt_flax.FlaxOpenAIGPTLMHeadModel), recipe, 3)

    def addresses():
        kept = trainer.params, trainer.optimizer_state, trainer.gradients
        return [array.unsafe_buffer_pointer() for array in jax.tree.leaves(kept)]

    before = addresses()
    for step in range(3):
        trainer.step(step, {"input_ids": IDS, "labels": IDS})
        assert addresses() == before


def test_the_optimizer_in_a_loop_of_your_own():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel, CONFIG.replace(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    recipe = Recipe(warmup_steps=0, learning_rate=0.01)
    expected = [Trainer(nnx.clone(model), recipe, 3).step(0, {"input_ids": IDS, "labels": IDS})["loss"]]
    optimizer = nnx.Optimizer(model, adamw(model, recipe, 3), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        loss, gradients = nnx.value_and_grad(lambda model: model(IDS, labels=IDS).loss)(model)
        optimizer.update(model, gradients)
        return loss

    model.train()
    losses = [float(step(model, optimizer)) for _ in range(3)]
    assert losses[0] == pytest.approx(expected[0], rel=1e-6)
    assert losses[2] < losses[1] < losses[0]


class Frozen(nnx.Variable):
    """Weights that a filter for ``nnx.Param`` leaves alone."""


def with_adapter(model):
    model.transformer.h[0].mlp.c_fc.lora_a = nnx.LoRAParam(jnp.ones((14, 2)))
    return model


def with_frozen_tokens(model):
    table = model.get_input_embeddings()
    table.embedding = Frozen(table.embedding.get_value())
    return model


@pytest.mark.parametrize(
    ("prepare", "selected"),
    [
        (with_adapter, nnx.LoRAParam),
        (with_adapter, nnx.Param),
        (with_frozen_tokens, nnx.Param),
        (nnx.clone, nnx.All(nnx.Param, nnx.PathContains("mlp"))),
    ],
)
def test_the_optimizer_of_some_parameters(prepare, selected):
    """Those change by gradient and decay as all would, and the others not at all; ``lora_a`` is used nowhere."""
    model = prepare(build(gpt_flax.FlaxOpenAIGPTLMHeadModel, CONFIG.replace(n_layer=1)))
    recipe = Recipe(warmup_steps=0, learning_rate=0.01, max_grad_norm=None)
    kept = nnx.Not(nnx.RngState)
    before = {path: value.get_value() for path, value in nnx.to_flat_state(nnx.state(model, kept))}
    chosen = {path for path, _ in nnx.to_flat_state(nnx.state(model, selected))}
    optimizer = nnx.Optimizer(model, adamw(model, recipe, 3), wrt=selected)
    zeros = jax.tree.map(jnp.zeros_like, nnx.state(model, selected))
    optimizer.update(model, zeros)
    for path, value in nnx.to_flat_state(nnx.state(model, kept)):
        decays = path in chosen and value.ndim > 1
        expected = before[path] * (1 - recipe.weight_decay * recipe.learning_rates(3)[0] * decays)
        assert largest_difference(value.get_value(), expected) < 1e-6, path


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_training_beside_frozen_weights(precision):
    model = with_frozen_tokens(build(gpt_flax.FlaxOpenAIGPTLMHeadModel, CONFIG.replace(n_layer=1)))
    model.eval()
    trainer, batch = Trainer(model, Recipe(warmup_steps=0, precision=precision), 3), {"input_ids": IDS, "labels": IDS}
    before = dict(trainer.weights())
    loss = trainer.step(0, batch)["loss"]
    changed = {name for name, value in trainer.weights() if (value != before[name]).any()}
    assert changed == before.keys() - {"tokens_embed.weight"}
    moments = dict(trainer.moments())
    assert not moments["exp_avg.tokens_embed.weight"].any()
    before["tokens_embed.weight"] = before["tokens_embed.weight"] * 2
    trainer.restore(0, before.items(), moments.items())
    assert (dict(trainer.weights())["tokens_embed.weight"] == before["tokens_embed.weight"]).all()
    assert abs(trainer.step(0, batch)["loss"] - loss) > 0.01
    assert model.transformer.drop.deterministic


def test_a_parameter_that_no_checkpoint_holds_is_not_trained(tmp_path):
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    count = model.num_parameters()
    model = with_adapter(model)
    assert model.num_parameters(only_trainable=True) == count + 14 * 2
    with pytest.raises(ConfigError, match=r"cannot train transformer.h.0.mlp.c_fc.lora_a: .*adamw"):
        Trainer(model, Recipe(), 3)
    with pytest.raises(CheckpointError, match=r"(?s)cannot save .* no place for .*transformer.h.0.mlp.c_fc.lora_a"):
        model.save_pretrained(tmp_path)
    model.transformer.h[0].mlp.c_fc = nnx.Sequential(model.transformer.h[0].mlp.c_fc)
    with pytest.raises(CheckpointError, match=r"(?s)some are missing.*h.0.mlp.c_fc.weight"):
        model.save_pretrained(tmp_path)
    assert model.num_parameters() == count + 14 * 2
