"""Batches and blocks: each example once in an epoch, each token predicted once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.training import Batches, Blocks, micro_batches, once, shares
from gptcore.training.batches import permutation


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 2**32 - 1), st.integers(0, 3), st.booleans())
def test_each_epoch_has_each_example_once(count, size, seed, epoch, by_length):
    lengths = [i % 7 for i in range(count)] if by_length else None
    batches = Batches([{"x": np.array(i)} for i in range(count)], size, seed=seed, lengths=lengths)
    steps = -(-count * (epoch + 1) // size)
    drawn = np.concatenate([batches[step]["x"] for step in range(steps)])
    assert sorted(drawn[count * epoch : count * (epoch + 1)]) == list(range(count))
    assert batches[steps - 1]["x"].tolist() == drawn[-size:].tolist()  # at any step, in any order


def test_each_seed_and_epoch_has_its_own_order():
    orders = {tuple(permutation(seed, epoch, 30)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert np.mean([permutation(0, epoch, 30)[0] for epoch in range(400)]) == pytest.approx(14.5, abs=2)


@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_batches_by_length_hold_similar_lengths(seed, epoch):
    """Sizes at which no epoch but the first begins with a batch; more than one window."""
    lengths = np.random.default_rng(seed).integers(1, 60, 411)
    batches = Batches([{"index": np.array(i)} for i in range(411)], 4, seed=seed, lengths=lengths)

    def of(epoch):
        return [batches[step]["index"] for step in range(-(-411 * epoch // 4), 411 * (epoch + 1) // 4)]

    whole = [lengths[indices] for indices in of(epoch)]
    spread = [np.ptp(batch) for batch in whole]
    assert np.mean(spread) < 3  # 35 at random
    assert sorted(spread)[-3] < 6
    means = np.array([batch.mean() for batch in whole])
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5  # long and short ones in turns
    groups, others = ({frozenset(indices.tolist()) for indices in of(e)} for e in (epoch, epoch + 1))
    assert len(groups & others) < 10  # of 102: the next epoch brings others together


def test_blocks_lose_no_token():
    blocks = Blocks(np.arange(1, 24), 5)
    batches = once(blocks, 2)
    ids, labels = (np.concatenate([batch[name].ravel() for batch in batches]) for name in ("input_ids", "labels"))
    assert ids[labels != -100].tolist() == list(range(1, 24))
    assert len(Blocks(np.arange(11), 5)) == 2  # a last single token predicts nothing


@given(st.integers(2, 60), st.integers(2, 9), st.data())
def test_overlapping_blocks_ask_for_every_token_once(count, length, data):
    stride = data.draw(st.integers(1, length - 1))
    blocks = Blocks(np.arange(count), length, stride)
    asked = np.concatenate([blocks[i]["labels"][1:] for i in range(len(blocks))])
    assert asked[asked != -100].tolist() == list(range(1, count))
    for i in range(1, len(blocks)):
        first = np.flatnonzero(blocks[i]["labels"] != -100)[0]
        assert first == length - stride  # what it is read behind


def test_shares_of_micro_batches_add_up():
    whole = {"labels": np.where(np.tri(6, 9, 2) > 0, 1, -100), "targets": np.arange(6)}
    parts = [shares(part, whole) for part in micro_batches(whole, 2)]
    for name in ("lm_loss", "task_loss"):
        assert sum(part[name] for part in parts) == pytest.approx(1)
    assert parts[0]["lm_loss"] < parts[2]["lm_loss"]
