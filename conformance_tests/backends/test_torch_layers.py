"""Dropout, attention kernels and gradient checkpointing of the layers."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch_models import CONFIG, IDS, MODELS, build, every_model, largest_difference  # noqa: F401

import gpt_torch
from gptcore.errors import InputError


@pytest.mark.parametrize(
    "enable",
    [
        lambda model: model.gradient_checkpointing_enable(),
        lambda model: model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True}),
        lambda model: model.gradient_checkpointing_enable(gradient_checkpointing_kwargs=None, every_n_layers=1),
        lambda model: model.activation_checkpointing_enable({"preserve_rng_state": False}, offload=False),
    ],
)
def test_gradient_checkpointing_changes_no_gradient(model, enable):
    if type(model) is gpt_torch.OpenAIGPTModel:
        model = build(gpt_torch.OpenAIGPTLMHeadModel)
    config = CONFIG.replace(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, summary_first_dropout=0.0)
    gradients = []
    for enabled in (False, True):
        trained = build(type(model), config).train()
        if enabled:
            enable(trained)
        trained(IDS, **MODELS[type(model)]).loss.backward()
        gradients.append({name: p.grad for name, p in trained.named_parameters() if p.grad is not None})
    assert largest_difference(*gradients) == 0


def test_dropout_only_in_training(model):
    assert largest_difference(model(IDS), model(IDS)) == 0
    model.train()
    assert largest_difference(model(IDS), model(IDS)) > 0


def test_each_dropout_is_where_the_paper_has_it():
    for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop"):
        off = {"embd_pdrop": 0.0, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
        model = build(gpt_torch.OpenAIGPTModel, CONFIG.replace(**{**off, name: 0.5})).train()
        output = model(IDS, output_hidden_states=True)
        zeros = (output.hidden_states[0] == 0).float().mean().item()
        assert (zeros > 0.3) == (name == "embd_pdrop")
        assert (model(IDS).last_hidden_state - model(IDS).last_hidden_state).abs().max() > 0


def test_dropout_follows_its_modules():
    """As users switch it: off by ``p``, on in evaluation mode for draws of a Bayesian kind, off in some layers."""
    model = build(gpt_torch.OpenAIGPTModel, CONFIG.replace(embd_pdrop=0.0, attn_pdrop=0.5, resid_pdrop=0.0)).eval()
    dropouts = [module for module in model.modules() if isinstance(module, torch.nn.Dropout)]
    for p, random in ((0.5, True), (0.0, False)):
        for module in dropouts:
            module.train().p = p
        assert (not torch.equal(model(IDS).last_hidden_state, model(IDS).last_hidden_state)) == random


@pytest.mark.parametrize("mask", [None, [[0, 0, 1, 1, 1], [1, 1, 1, 1, 0]]])
def test_the_flash_kernel_takes_padded_rows_too(mask):
    """No other kernel is let in; PyTorch raises where the chosen one can't run."""
    model = build(gpt_torch.OpenAIGPTModel)
    mask = None if mask is None else torch.tensor(mask)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        fused = model(IDS, mask).last_hidden_state
    written_out = model(IDS, mask, output_attentions=True).last_hidden_state
    assert (fused - written_out).abs().max() < 1e-5


def test_checkpointing_that_is_not_supported(model):
    with pytest.raises(
        InputError, match=r"every_n_layers must be 1 and offload False; got 2 and True. Leave them out."
    ):
        model.activation_checkpointing_enable(every_n_layers=2, offload=True)
    model.activation_checkpointing_enable()
    assert model.trunk.gradient_checkpointing
    model.activation_checkpointing_disable()
    assert not model.trunk.gradient_checkpointing
