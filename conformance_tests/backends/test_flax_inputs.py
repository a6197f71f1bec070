"""Labels, ids and lists as a model's inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax_models import CONFIG, IDS, every_model, largest_difference  # noqa: F401

import gpt_flax
from gpt_flax.heads import cross_entropy


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int8", "int16", "int64"])
def test_labels_of_every_integer_type(dtype):
    """-100 read as an unsigned number may be a label."""
    like_ignored = int(np.array(-100).astype(dtype))
    label = like_ignored if 0 <= like_ignored < 2**16 else 3
    logits = np.zeros((2, label + 2), np.float32)
    logits[0, label], logits[1, 0] = 2, 5
    labels = jnp.asarray(np.array([label, 1]).astype(dtype))
    expected = cross_entropy(logits, np.array([label, 1]))
    assert largest_difference(cross_entropy(logits, labels), expected) == 0
    assert largest_difference(jax.jit(cross_entropy)(logits, labels), expected) < 1e-6


def test_padding_that_an_unsigned_type_cannot_hold():
    config = CONFIG.replace(vocab_size=400, pad_token_id=300)
    model = gpt_flax.FlaxOpenAIGPTForSequenceClassification(config, seed=None)
    assert model.last_position(jnp.array([[1, 2, 300 - 256]], jnp.uint8), None) == 2


def test_lists_are_taken(model):
    assert largest_difference(model(IDS.tolist()), model(IDS)) == 0
