"""Weights come through every framework bit for bit."""

import itertools

import numpy as np
import pytest

from gptcore.checkpoint import open_pretrained
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head, parameters

CONFIG = OpenAIGPTConfig(vocab_size=53, n_positions=19, n_embd=15, n_head=3, n_layer=2, num_labels=5)
DTYPES = ["float32", "bfloat16", "float16", "float64"]


@pytest.mark.parametrize("max_shard_size", [None, "5KB"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("head", list(Head), ids=lambda head: head.value)
def test_a_chain_through_all_frameworks_changes_no_bit(
    backends, make_checkpoint, tmp_path, head, dtype, max_shard_size
):
    first = folder = make_checkpoint(CONFIG, head, dtype)
    chain = [*backends, backends[0]]
    for step, backend in enumerate(chain):
        model = backend.load(folder, head, dtype=dtype)
        folder = tmp_path / f"step-{step}"
        model.save(folder, max_shard_size)
    before = dict(open_pretrained(first, head, "auto").values())
    after = open_pretrained(folder, head, "auto")
    assert after.dtype == dtype
    assert list(parameters(CONFIG, head)) == sorted(before, key=list(parameters(CONFIG, head)).index)
    for name, array in after.values():
        np.testing.assert_array_equal(bits(array), bits(before[name]), err_msg=name)
    written = OpenAIGPTConfig.from_pretrained(folder)
    assert written.replace(extra={}) == CONFIG.replace(extra={})
    assert written.extra["architectures"] == [head.architecture]


@pytest.mark.parametrize(("stored", "wanted"), list(itertools.permutations(DTYPES, 2)))
def test_every_framework_rounds_alike(backends, make_checkpoint, stored, wanted):
    folder = make_checkpoint(CONFIG, Head.NONE, stored)
    first, *others = (backend.load(folder, Head.NONE, dtype=wanted).weights() for backend in backends)
    for other in others:
        assert first.keys() == other.keys()
        for name in first:
            np.testing.assert_array_equal(bits(first[name]), bits(other[name]), err_msg=name)


def test_fresh_weights_are_the_same_everywhere(backends, tmp_path, make_checkpoint):
    """A base checkpoint in a head model: the head is fresh, and equal in all frameworks."""
    folder = make_checkpoint(CONFIG, Head.NONE)
    loaded = [b.load(folder, Head.SEQUENCE_CLASSIFICATION).weights()["score.weight"] for b in backends]
    assert loaded[0].std() == pytest.approx(CONFIG.initializer_range, rel=0.3)
    for other in loaded[1:]:
        np.testing.assert_array_equal(loaded[0], other)


@pytest.mark.parametrize("option", ["ignore_mismatched_sizes", "ignore_mismatched_labels"])
def test_a_head_for_another_number_of_labels_is_fresh(backends, make_checkpoint, option):
    folder = make_checkpoint(CONFIG, Head.SEQUENCE_CLASSIFICATION)
    settings = {"num_labels": 3, option: True}
    models = [b.load(folder, Head.SEQUENCE_CLASSIFICATION, **settings) for b in backends]
    for model in models:
        assert model.config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
        assert model.weights()["score.weight"].shape == (3, 15)


def bits(array):
    array = np.ascontiguousarray(array)
    return array.reshape(-1).view(np.uint8)
