"""Texts in the tables of other libraries, and models in their processes; opt-in."""

import datasets
import joblib
import pandas
import pytest
import torch

from gptcore import DEFAULT_MODEL
from tokenization import OpenAIGPTTokenizerFast

TEXTS = ["the dog", "a cat sat on it", "the king"]
DATASET = datasets.Dataset.from_dict({"text": TEXTS})
COLUMNS = {
    "datasets.Column": DATASET["text"],
    "datasets.Column, formatted": DATASET.with_format("numpy")["text"],
    "Series": pandas.Series(TEXTS, index=[5, 6, 7]),
    "Series of objects": pandas.Series(TEXTS, dtype=object),
    "Index": pandas.Index(TEXTS),
    "column of a frame": pandas.DataFrame({"text": TEXTS, "label": 0})["text"],
}


@pytest.fixture(scope="module")
def tokenizer():
    return OpenAIGPTTokenizerFast.from_pretrained(DEFAULT_MODEL, pad_token="<unk>")


@pytest.mark.parametrize("name", COLUMNS)
def test_columns(tokenizer, name):
    assert tokenizer(COLUMNS[name]) == tokenizer(TEXTS)
    assert tokenizer(COLUMNS[name], COLUMNS[name]) == tokenizer(TEXTS, TEXTS)


def test_map(tokenizer):
    rows = DATASET.map(lambda rows: tokenizer(rows["text"]), batched=True)
    assert rows["input_ids"][:] == tokenizer(TEXTS)["input_ids"]
    again = DATASET.map(tokenizer, input_columns="text", batched=True, num_proc=2)
    assert again["input_ids"][:] == rows["input_ids"][:]


def test_joblib(model):
    ids = torch.arange(24).view(2, 12) % 61
    logits = joblib.Parallel(2)(joblib.delayed(run)(model, row[None]) for row in ids)
    torch.testing.assert_close(torch.cat(logits), model(ids).logits)


def run(model, ids):
    return model(ids).logits
