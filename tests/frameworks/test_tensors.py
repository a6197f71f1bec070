"""``return_tensors`` for every framework that takes part."""

import subprocess

import numpy as np
import pytest
from linked import environment
from text_data import VOCABULARY

from tokenization import OpenAIGPTTokenizerFast

KINDS = {"torch": ("pt", "int64"), "tf": ("tf", "int32"), "flax": ("jax", "int32")}


@pytest.fixture
def frameworks(pytestconfig):
    requested = pytestconfig.getoption("--backend") or list(KINDS)
    return [KINDS[name] for name in requested if name != "core"]


def test_tensors(frameworks):
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(VOCABULARY, pre_tokenizer="basic", pad_token="<unk>")
    for kind, dtype in [("np", "int64"), *frameworks]:
        batch = tokenizer(["the", "the dog"], padding=True, return_tensors=kind)
        for name, expected in (("input_ids", [[481, 0], [481, 2585]]), ("attention_mask", [[1, 0], [1, 1]])):
            assert np.asarray(batch[name]).tolist() == expected
            assert dtype in str(batch[name].dtype)
        assert tokenizer.batch_decode(batch.input_ids) == ["the <unk>", "the dog"]
        padded = tokenizer.pad({"input_ids": batch.input_ids}, padding="max_length", max_length=3, return_tensors=kind)
        assert np.asarray(padded.input_ids).tolist() == [[481, 0, 0], [481, 2585, 0]]


ALONE = """
from gptcore import pipeline
from tokenization import OpenAIGPTTokenizerFast
tokenizer = OpenAIGPTTokenizerFast.from_pretrained({vocabulary!r}, pre_tokenizer="basic")
print(tokenizer("the dog", return_tensors="pt").input_ids.tolist(), pipeline("score")("the dog")["tokens"])
try:
    from gptcore.backends.training import load_trainers
    load_trainers("torch")
except ValueError as error:
    print(error)
"""


def test_tensors_and_models_need_nothing_that_training_needs(tmp_path):
    python = environment(tmp_path, "gptcore-models", "torch")
    command = [python, "-c", ALONE.format(vocabulary=str(VOCABULARY))]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert out[0] == "[[481, 2585]] 1"  # the first token has no score
    assert out[1].startswith("cannot import backend 'torch': training in PyTorch needs accelerate")


def test_an_encoding_moves_to_a_device(frameworks):
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(VOCABULARY, pre_tokenizer="basic")
    for kind, _ in frameworks:
        encoded = tokenizer("the dog", return_tensors=kind)
        moved = encoded.to("cpu") if kind == "pt" else encoded
        assert np.asarray(moved.input_ids).tolist() == [[481, 2585]]
