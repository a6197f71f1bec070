"""The table: the released model's sizes, every layout total, fresh values stable."""

import json

import numpy as np
import pytest
from text_data import VOCABULARY

from gptcore import OpenAIGPTConfig
from gptcore.checkpoint.layouts import (
    TRANSFORMS,
    canonical_name,
    covers_the_table,
    foreign_name,
    hf_tf,
    hf_torch,
    keras,
    keras_weights,
    nnx,
    openai,
)
from gptcore.spec.parameters import Head, Kind, initial_value, parameters, resized_embedding

FROZEN = [-0.0028753881, -0.025955968, 0.011238226]


def test_the_released_model():
    table = parameters(OpenAIGPTConfig())
    assert (len(table), sum(p.size for p in table.values())) == (146, 116_534_784)


def test_shapes_of_the_released_files():
    """OpenAI's own list: positions, tokens, then twelve arrays a layer; kernels with a leading axis of 1."""
    shapes = json.loads((VOCABULARY / "params_shapes.json").read_text())
    released = sorted([n for n in shape if n != 1] for shape in shapes)
    assert released == sorted(list(p.shape) for p in parameters(OpenAIGPTConfig()).values())


LAYOUTS = [hf_torch, hf_tf, keras, keras_weights, nnx]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_layouts_are_total_and_injective(layout):
    assert covers_the_table(layout.ROWS)
    config = OpenAIGPTConfig(n_layer=12, n_embd=12)
    names = []
    for head in (Head.DOUBLE_HEADS, Head.SEQUENCE_CLASSIFICATION):
        names += [foreign_name(layout.ROWS, parameter) for parameter in parameters(config, head).values()]
    assert len({name for name, _ in names}) == len(set(parameters(config, Head.DOUBLE_HEADS)) | {"score.weight"})
    assert {transform for _, transform in names} <= set(TRANSFORMS)
    for parameter in parameters(config, head).values():
        name, transform = foreign_name(layout.ROWS, parameter)
        assert canonical_name(layout.ROWS, name) == (parameter.name, transform)
    assert canonical_name(layout.ROWS, "h.00.attn.c_attn.weight") is None


def test_openais_order_is_the_whole_trunk():
    released = json.loads((VOCABULARY / "params_shapes.json").read_text())
    table = parameters(OpenAIGPTConfig())
    order = openai.order(12)
    assert sorted(order) == sorted(table)
    for name, shape in zip(order, released, strict=True):
        transform = TRANSFORMS[foreign_name(openai.ROWS, table[name])[1]]
        assert list(transform(np.broadcast_to(0, table[name].shape)).shape) == shape


def test_fresh_values_are_frozen():
    """Another value here breaks every seeded run of every user."""
    config = OpenAIGPTConfig(vocab_size=5, n_positions=3, n_embd=4, n_head=2, n_layer=1)
    value = initial_value(parameters(config)["h.0.mlp.c_fc.weight"], config, 0)
    assert value.dtype == np.float32
    np.testing.assert_array_equal(value[0, :3], np.array(FROZEN, np.float32))
    other = initial_value(parameters(config)["h.0.mlp.c_fc.weight"], config, 1)
    assert not np.array_equal(value, other)


def test_fresh_values_have_the_published_distribution():
    config = OpenAIGPTConfig(n_layer=1)
    for parameter in parameters(config).values():
        value = initial_value(parameter, config, 3)
        if parameter.kind in (Kind.BIAS, Kind.SHIFT):
            assert not value.any()
        elif parameter.kind is Kind.SCALE:
            assert (value == 1).all()
        else:
            assert value.std() == pytest.approx(0.02, rel=0.01)
            assert abs(value.mean()) < 1e-4


def test_resizing_keeps_rows_and_draws_the_rest():
    config = OpenAIGPTConfig(vocab_size=7, n_embd=4, n_head=2)
    old = np.ones((5, 4), np.float32)
    resized = resized_embedding(old, config)
    np.testing.assert_array_equal(resized[:5], old)
    np.testing.assert_array_equal(resized[5:], initial_value(parameters(config)["tokens_embed.weight"], config, 0)[5:])
    np.testing.assert_array_equal(resized_embedding(old, config.replace(vocab_size=2)), old[:2])
