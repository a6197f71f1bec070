"""Pickles of models, also for worker processes."""

import itertools
import pickle

import pytest
import torch
from torch.utils.data import DataLoader
from torch_models import CONFIG, IDS, build, every_model, largest_difference  # noqa: F401

import gpt_torch
import gptcore
from gpt_torch.training import adamw
from gptcore.spec.config import ACTIVATIONS, SUMMARY_ACTIVATIONS
from gptcore.spec.parameters import Head
from gptcore.spec.recipe import Recipe


def through_torch_save(model, tmp_path):
    torch.save(model, tmp_path / "model.pt")
    return torch.load(tmp_path / "model.pt", weights_only=False)


@pytest.mark.parametrize("copied", [lambda model, _: pickle.loads(pickle.dumps(model)), through_torch_save])
@pytest.mark.parametrize("afn", ACTIVATIONS)
def test_models_can_be_pickled(model, tmp_path, copied, afn):
    """As for a DataLoader or a pool that starts its processes anew."""
    for summary_activation in (None, *SUMMARY_ACTIVATIONS) if model.head is Head.DOUBLE_HEADS else (None,):
        config = CONFIG.replace(afn=afn, summary_activation=summary_activation)
        model = build(type(model), config)
        again = copied(model, tmp_path)
        assert again.config == config
        assert largest_difference(again(IDS), model(IDS)) == 0


def test_a_quantized_model_and_what_trains_one_can_be_pickled(tmp_path):
    model = build(gpt_torch.OpenAIGPTLMHeadModel)
    _, schedule = pickle.loads(pickle.dumps(adamw(model, Recipe(), total_steps=3)))
    assert schedule.get_last_lr() == adamw(model, Recipe(), total_steps=3)[1].get_last_lr()
    model.save_pretrained(tmp_path)
    quantized = gpt_torch.OpenAIGPTLMHeadModel.from_pretrained(tmp_path, quantization="int8")
    assert largest_difference(pickle.loads(pickle.dumps(quantized))(IDS), quantized(IDS)) == 0


def test_workers_that_are_spawned():
    texts, score = ["the dog", "a cat sat", "the king"], gptcore.pipeline("score")
    loader = DataLoader(texts, 2, num_workers=1, multiprocessing_context="spawn", collate_fn=score)
    for result, expected in zip(itertools.chain(*loader), score(texts), strict=True):
        assert result == pytest.approx(expected, rel=1e-5)
