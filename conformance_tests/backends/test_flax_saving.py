"""Saving, pickling and restoring a model: no weight is lost."""

import copy
import pickle

import jax.numpy as jnp
import numpy as np
import orbax.checkpoint
import pytest
from flax import nnx
from flax_models import CONFIG, IDS, build, largest_difference, weights

import gpt_flax
from gpt_flax.training import Trainer
from gpt_flax.weights import parameters_of
from gptcore import CheckpointError, ConfigError
from gptcore.spec.recipe import Recipe


def test_orbax_restores_onto_an_abstract_model(tmp_path):
    """With its random streams, as a loop of Orbax goes on."""
    model = build(gpt_flax.FlaxOpenAIGPTModel)
    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", nnx.state(model))
        checkpointer.wait_until_finished()
        graph, abstract = nnx.split(nnx.eval_shape(lambda: gpt_flax.FlaxOpenAIGPTModel(CONFIG, rngs=nnx.Rngs(3))))
        again = nnx.merge(graph, checkpointer.restore(tmp_path / "state", abstract))
    model.train()
    run = nnx.jit(lambda model: model(IDS)[0])
    assert largest_difference(run(again), run(model)) == 0


def test_parameters_without_a_place_in_the_files_are_not_dropped(tmp_path):
    model = build(gpt_flax.FlaxOpenAIGPTForSequenceClassification)
    model.score = nnx.Linear(14, 3, rngs=nnx.Rngs(0))
    with pytest.raises(CheckpointError, match=r"(?s)no place for these parameters.*\n  - score.bias"):
        model.save_pretrained(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("afn", "summary"), [("gelu", None), ("relu", "relu"), ("silu", "tanh"), ("gelu", "gelu_new")])
def test_pickling(afn, summary):
    """A copy is equal, so that a program compiled for the model runs it too."""
    model = build(gpt_flax.FlaxOpenAIGPTDoubleHeadsModel, CONFIG.replace(afn=afn, summary_activation=summary))
    for copied in (pickle.loads(pickle.dumps(model)), nnx.merge(*pickle.loads(pickle.dumps(nnx.split(model))))):
        assert nnx.graphdef(copied) == nnx.graphdef(model)
        assert largest_difference(weights(copied), weights(model)) == 0
    assert nnx.graphdef(copy.deepcopy(model)) == nnx.graphdef(model)


def test_weights_that_no_checkpoint_holds_are_an_error(tmp_path):
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    mlp, rngs = model.transformer.h[0].mlp, nnx.Rngs(0)
    kernel, bias = mlp.c_fc.kernel, mlp.c_fc.bias
    mlp.c_fc = nnx.LoRALinear(14, 56, lora_rank=2, rngs=rngs)
    mlp.c_fc.kernel, mlp.c_fc.bias = kernel, bias
    model.probe = nnx.Linear(14, 2, use_bias=False, rngs=rngs)
    model.same = model.transformer.tokens_embed  # has a place
    names = ("probe.kernel", *(f"transformer.h.0.mlp.c_fc.lora.lora_{letter}" for letter in "ab"))
    with pytest.raises(CheckpointError, match="no place for these parameters") as caught:
        model.save_pretrained(tmp_path)
    assert str(caught.value).endswith("\n".join(["", *(f"  - {name}" for name in names)]))
    assert not list(tmp_path.iterdir())


def test_weights_that_others_replaced_are_not_saved(tmp_path):
    model = build(gpt_flax.FlaxOpenAIGPTModel, CONFIG.replace(n_layer=2))
    model.h[0].mlp.c_fc = nnx.LoRA(14, 2, 56, base_module=model.h[0].mlp.c_fc, rngs=nnx.Rngs(0))
    model.h = model.h[:1]
    with pytest.raises(
        CheckpointError, match=r"some are missing. Put back .*\n  - h.0.mlp.c_fc.weight\n(.*\n)+  - h.1."
    ):
        model.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_adapters_are_not_dropped(tmp_path):
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    attn = model.transformer.h[0].attn
    attn.c_attn = nnx.LoRA(14, 2, 42, base_module=attn.c_attn, rngs=nnx.Rngs(0))
    with pytest.raises(CheckpointError, match=r"some are missing. .* merge and unload .*\n  - h.0.attn.c_attn.weight"):
        model.save_pretrained(tmp_path)


def test_weights_that_were_cast_are_saved_as_they_are(tmp_path):
    """``dtype`` of the model stays float32, the dtype that its modules compute in."""
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    for name, parameter in parameters_of(model).items():
        if "mlp" in name:
            parameter.set_value(jnp.asarray(np.asarray(parameter.get_value()).astype(jnp.bfloat16)))
    with pytest.raises(ConfigError, match="weights must be float32 for training; got bfloat16"):
        Trainer(model, Recipe(), 3)
    model.save_pretrained(tmp_path)
    again = parameters_of(type(model).from_pretrained(tmp_path))
    for name, parameter in parameters_of(model).items():
        assert (np.asarray(parameter.get_value()) == np.asarray(again[name].get_value())).all(), name
