"""Creating, loading and resizing a model: dtypes, devices and seeds."""

import copy

import pytest
import torch
from torch_models import CONFIG, IDS, build, every_model, largest_difference  # noqa: F401

import gpt_torch
from gptcore import ConfigError


def test_resizing(model):
    base = build(type(model))
    grown = model.resize_token_embeddings(47)
    assert grown is model.get_input_embeddings()
    assert model.config.vocab_size == 47
    assert CONFIG.vocab_size == 41
    assert model.num_parameters() == base.num_parameters() + 6 * 14
    assert grown.weight.requires_grad
    hidden = [m(IDS, output_hidden_states=True).hidden_states[-1] for m in (base, model)]
    assert torch.equal(*hidden)
    model(torch.full((1, 3), 46))
    model.resize_token_embeddings(41)
    assert largest_difference(model(IDS), base(IDS)) == 0
    with pytest.raises(ConfigError, match="vocab_size must be"):
        model.resize_token_embeddings(0)


def test_deep_copies_and_devices(model):
    clone = copy.deepcopy(model)
    assert largest_difference(clone(IDS), model(IDS)) == 0
    assert model.device.type == "cpu"
    assert model.double().dtype is torch.float64
    assert model(IDS)[0].dtype is torch.float64
    with torch.device("meta"):
        assert type(model)(CONFIG).device.type == "meta"


def test_bad_settings_are_errors():
    with pytest.raises(ConfigError, match="attn_implementation must be one of 'sdpa', 'eager'; got 'flash'"):
        gpt_torch.OpenAIGPTModel(CONFIG, attn_implementation="flash")
    with pytest.raises(ValueError, match=r"dtype must be one of .*; got 'int8'"):
        gpt_torch.OpenAIGPTModel(CONFIG, dtype="int8")


def test_loading_reports_what_is_new(tmp_path, caplog):
    build(gpt_torch.OpenAIGPTModel).save_pretrained(tmp_path)
    model, info = gpt_torch.OpenAIGPTForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert info == {"missing_keys": ["score.weight"], "unexpected_keys": []}
    assert "score.weight is new and untrained, because the checkpoint lacks it. Train" in caplog.text
    assert not model.training


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_fresh_models_have_the_default_dtype(tmp_path, dtype):
    torch.set_default_dtype(dtype)
    try:
        model = gpt_torch.OpenAIGPTLMHeadModel(CONFIG).eval()
        assert {tensor.dtype for tensor in model.state_dict().values()} == {dtype}
        assert gpt_torch.OpenAIGPTModel(CONFIG, dtype="float32").dtype is torch.float32
        assert model(IDS).logits.dtype is dtype
        ids = model.generate(IDS, max_new_tokens=2, do_sample=True, seed=1)
        model.save_pretrained(tmp_path)
        assert gpt_torch.OpenAIGPTLMHeadModel.from_pretrained(tmp_path).dtype is torch.float32
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(model.generate(IDS, max_new_tokens=2, do_sample=True, seed=1), ids)


def test_a_seed_for_what_the_checkpoint_lacks(tmp_path):
    build(gpt_torch.OpenAIGPTModel).save_pretrained(tmp_path)
    load = gpt_torch.OpenAIGPTForSequenceClassification.from_pretrained
    first, again, second = (load(tmp_path, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.score.weight, again.score.weight)
    assert not torch.equal(first.score.weight, second.score.weight)
    assert torch.equal(second.score.weight, gpt_torch.OpenAIGPTForSequenceClassification(CONFIG, seed=1).score.weight)
    assert torch.equal(first.transformer.tokens_embed.weight, second.transformer.tokens_embed.weight)


@pytest.mark.parametrize("device_map", ["cpu", "meta", {"": "cpu"}, torch.device("cpu"), None])
def test_loading_onto_a_device(tmp_path, device_map):
    build(gpt_torch.OpenAIGPTModel).save_pretrained(tmp_path)
    model = gpt_torch.OpenAIGPTModel.from_pretrained(tmp_path, device_map=device_map, torch_dtype=torch.bfloat16)
    assert model.dtype is torch.bfloat16
    assert model.device.type == ("meta" if device_map == "meta" else "cpu")
    assert gpt_torch.OpenAIGPTModel.from_pretrained(tmp_path, device_map="auto").device.type in ("cpu", "cuda")
    with pytest.raises(ConfigError, match=r"device_map must name one device; got .* Pass device_map='auto'"):
        gpt_torch.OpenAIGPTModel.from_pretrained(tmp_path, device_map={"h": 0, "tokens_embed": 1})
