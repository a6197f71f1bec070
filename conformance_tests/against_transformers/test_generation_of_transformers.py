"""The ids that CI holds every backend to are those of transformers; the same at the size of the released model."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from generation_data import weights

import gpt_torch
from gptcore.checkpoint import save_pretrained
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head

FOLDER = Path(__file__).parent.parent / "generation"
IDS = np.random.default_rng(0).integers(1, 40_478, (2, 9))


def make_golden():
    spec = importlib.util.spec_from_file_location("make_golden_ids", FOLDER / "make_golden_ids.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")  # transformers warns of its own settings
def test_the_golden_ids_are_those_of_transformers():
    assert list(make_golden().golden()) == json.loads((FOLDER / "golden.json").read_text())


@pytest.fixture(scope="module")
def full_size(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    config = OpenAIGPTConfig()
    save_pretrained(folder, config, Head.LM, "float32", weights(config=config))
    theirs = transformers.OpenAIGPTLMHeadModel.from_pretrained(folder).eval()
    return gpt_torch.OpenAIGPTLMHeadModel.from_pretrained(folder).eval(), theirs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "settings",
    [{}, {"no_repeat_ngram_size": 2, "repetition_penalty": 1.2}, {"num_beams": 4, "length_penalty": 0.6}],
    ids=str,
)
def test_full_size(full_size, settings):
    ours, theirs = full_size
    ids = torch.from_numpy(IDS)
    settings = {"max_new_tokens": 40, "pad_token_id": 1, "do_sample": False, "eos_token_id": 40_477, **settings}
    expected = theirs.generate(ids, attention_mask=torch.ones_like(ids), **settings)
    np.testing.assert_array_equal(ours.generate(ids, **settings), expected)
