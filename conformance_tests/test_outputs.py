"""Outputs of the models: attribute, item, position and tree are one, and other libraries can rebuild them."""

import copy
import importlib
import pickle

import numpy as np
import pytest

from gptcore.generation import GenerateOutput

LOSS, LOGITS, STATES = np.float32(3), np.arange(6).reshape(2, 3), (np.zeros(2), np.ones(2))


@pytest.fixture
def output_class(backend):
    prefix = {"torch": "", "tf": "TF", "flax": "Flax"}[backend.name]
    return getattr(importlib.import_module(f"gpt_{backend.name}"), f"{prefix}CausalLMOutput")


@pytest.fixture
def tree_map(backend):
    """What the framework rebuilds an output with."""
    if backend.name == "torch":
        return importlib.import_module("torch.utils._pytree").tree_map
    if backend.name == "flax":
        return importlib.import_module("jax").tree.map
    return importlib.import_module("keras").tree.map_structure


CHANGES = {
    "attribute": lambda output: setattr(output, "loss", 7),
    "item": lambda output: output.__setitem__("loss", 7),
    "update": lambda output: output.update(loss=7),
    "setdefault": lambda output: (output.pop("loss", None), output.setdefault("loss", 7)),
    "in place": lambda output: output.__ior__({"loss": 7}),
}


@pytest.mark.parametrize("before", [{"loss": LOSS}, {}], ids=["present", "missing"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_field_is_changed_everywhere(output_class, tree_map, change, before):
    output = output_class(logits=LOGITS, hidden_states=STATES, **before)
    change(output)
    assert (output.loss, output["loss"], output[0], output.to_tuple()[0], dict(output)["loss"]) == (7,) * 5
    assert list(output) == ["loss", "logits", "hidden_states"]
    assert output[1:] == (LOGITS, STATES)
    leaves = []
    tree_map(leaves.append, output)
    assert leaves[0] == 7
    assert leaves[1] is LOGITS


def test_none_removes_a_field(output_class):
    output = output_class(loss=LOSS, logits=LOGITS)
    output.loss = None
    output["attentions"] = None
    assert (output.loss, output.attentions, output.to_tuple()) == (None, None, (LOGITS,))


def test_an_unknown_field(output_class):
    output = output_class(logits=LOGITS)
    for make in (lambda: output_class(logit=1), lambda: output_class({"logit": 1}), lambda: output.update(logit=1)):
        with pytest.raises(TypeError, match="CausalLMOutput has no field logit"):
            make()
    with pytest.raises(AttributeError, match="CausalLMOutput has no attribute 'logit'"):
        output.logit  # noqa: B018


REBUILT = {
    "pickle": lambda output: pickle.loads(pickle.dumps(output)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "its own copy": lambda output: output.copy(),
    "union": lambda output: output | {},
    "a mapping, as by accelerate": lambda output: type(output)(dict(output)),
    "pairs, as by DataParallel and tf.nest": lambda output: type(output)((name, output[name]) for name in output),
    "keywords": lambda output: type(output)(**output),
    "items, as by FSDP": lambda output: filled(type(output)(), output),
}


def filled(empty, output):
    for name, value in output.items():
        empty[name] = value
    return empty


@pytest.mark.parametrize("rebuild", REBUILT.values(), ids=REBUILT)
def test_rebuilt_outputs(output_class, rebuild):
    output = output_class(loss=LOSS, logits=LOGITS, hidden_states=STATES)
    again = rebuild(output)
    assert type(again) is output_class
    assert list(again) == list(output)
    assert again.loss == LOSS
    np.testing.assert_array_equal(again.logits, LOGITS)


def test_trees_keep_the_class(output_class, tree_map):
    doubled = tree_map(lambda value: value * 2, output_class(loss=LOSS, logits=LOGITS, hidden_states=STATES))
    assert type(doubled) is output_class
    assert doubled.loss == doubled[0] == 6
    assert doubled.hidden_states[1].tolist() == [2, 2]


def test_what_generate_returns_is_read_like_the_others():
    output = GenerateOutput(sequences=LOGITS, sequences_scores=STATES[0])
    assert (output[0], output["sequences"], output.scores, len(output)) == (LOGITS, LOGITS, None, 2)
    ids, scores = output.to_tuple()
    assert (ids, scores) == (LOGITS, STATES[0])
    assert {**output}.keys() == {"sequences", "sequences_scores"}
    with pytest.raises(TypeError, match="GenerateOutput has no field sequence"):
        GenerateOutput(sequence=LOGITS)
