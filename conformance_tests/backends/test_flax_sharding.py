"""Models on a mesh of devices."""

import jax
import numpy as np
from flax import nnx
from flax_models import IDS, build, largest_difference

import gpt_flax


def test_on_a_mesh_with_explicit_axes():
    model = build(gpt_flax.FlaxOpenAIGPTLMHeadModel)
    graph, state = nnx.split(model)
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    rows = jax.sharding.PartitionSpec("data")
    with jax.set_mesh(mesh):
        ids = jax.device_put(IDS, jax.sharding.NamedSharding(mesh, rows))
        run = jax.sharding.auto_axes(lambda state, ids: nnx.merge(graph, state)(ids).logits, out_sharding=rows)
        logits = jax.jit(run)(state, ids)
    assert largest_difference(np.asarray(logits), np.asarray(model(IDS).logits)) < 1e-5


def test_parameters_carry_logical_axes():
    model = build(gpt_flax.FlaxOpenAIGPTModel)
    assert model.tokens_embed.embedding.get_metadata("out_sharding") == ("vocab", "embed")
    assert model.h[0].mlp.c_fc.kernel.get_metadata("out_sharding") == ("embed", "mlp")
