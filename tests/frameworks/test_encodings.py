"""What a tokenizer returns, as each framework takes a dict of arrays."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
from text_data import VOCABULARY

from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import IGNORED_LABEL
from tokenization import BatchEncoding, OpenAIGPTTokenizerFast


@pytest.fixture
def encode(backend):
    """A function (arguments) -> the encoding of two texts, made after the framework was imported."""
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(VOCABULARY, pre_tokenizer="basic", pad_token="<unk>")
    return lambda tensors: tokenizer(["the dog is", "a cat"], padding=True, return_tensors=tensors)


def in_torch(encoded):
    import torch
    from torch.utils._pytree import tree_map

    assert tree_map(lambda rows: rows.shape, encoded) == {"input_ids": (2, 3), "attention_mask": (2, 3)}
    assert isinstance(tree_map(torch.clone, encoded), BatchEncoding)
    assert encoded.to("cpu", non_blocking=True) is encoded
    assert torch.utils.data.default_collate([encoded[0], encoded[1]])["input_ids"].equal(encoded.input_ids)


def in_tf(encoded):
    import keras
    import tensorflow as tf

    from gpt_tf import TFOpenAIGPTLMHeadModel

    assert [rows.shape for rows in keras.tree.flatten(encoded)] == [(2, 3)] * 2
    assert {**tf.function(lambda rows: {**rows})(encoded)}.keys() == encoded.keys()
    assert next(iter(tf.data.Dataset.from_tensor_slices(encoded)))["input_ids"].shape == (3,)
    model = TFOpenAIGPTLMHeadModel(OpenAIGPTConfig(vocab_size=40_478, n_positions=4, n_embd=2, n_layer=1, n_head=1))
    model.compile("sgd")
    plain = {name: np.asarray(rows) for name, rows in encoded.items()}
    logits = model.predict(plain, verbose=0)["logits"]
    np.testing.assert_array_equal(model.predict(encoded, verbose=0)["logits"], logits)
    labels = np.where(plain["attention_mask"], plain["input_ids"], IGNORED_LABEL)
    encoded["labels"] = plain["labels"] = labels
    loss = model.evaluate(plain, verbose=0)
    assert model.evaluate(encoded, verbose=0) == loss
    assert model.fit(encoded, verbose=0).history["loss"] == [pytest.approx(loss, rel=1e-2)]  # with dropout
    inputs = {name: keras.Input((3,), name=name) for name in encoded}  # in another order than Keras'
    functional = keras.Model(inputs, inputs["input_ids"])
    assert functional.predict(encoded, verbose=0).tolist() == plain["input_ids"].tolist()  # and no warning


def in_flax(encoded):
    import jax

    assert jax.tree.map(np.shape, encoded) == {"input_ids": (2, 3), "attention_mask": (2, 3)}
    assert jax.jit(lambda rows: (rows.input_ids * rows["attention_mask"]).sum())(encoded) == encoded.input_ids.sum()
    for same in (jax.jit(lambda rows: rows)(encoded), jax.device_put(encoded)):
        assert isinstance(same, BatchEncoding)
        assert same.input_ids.tolist() == encoded.input_ids.tolist()
    reordered = BatchEncoding({name: encoded[name] for name in ("attention_mask", "input_ids")})
    assert jax.tree.structure(reordered) == jax.tree.structure(encoded)


CHECKS = {"torch": (in_torch, "pt"), "tf": (in_tf, "np"), "flax": (in_flax, "np")}


def test_arrays_inside(backend, encode):
    check, tensors = CHECKS[backend.name]
    check(encode(tensors))
    check(pickle.loads(pickle.dumps(encode(tensors))))


def test_an_encoding_imports_no_framework():
    code = """
import sys
from tokenization import BatchEncoding
sys.modules["jax"] = sys.modules["jax.tree_util"] = None  # as where it is blocked
assert BatchEncoding(input_ids=[[1]])[0] == {"input_ids": [1]}
assert not {"torch", "keras", "tensorflow", "optree"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
