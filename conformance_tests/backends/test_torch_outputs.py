"""The outputs of a model: fields, tuples, and what the config asks for."""

import torch
from accelerate.utils import convert_to_fp32, send_to_device
from torch_models import CONFIG, IDS, build, every_model  # noqa: F401

import gpt_torch


def test_tuples_and_positions(model):
    output = model(IDS, output_hidden_states=True, output_attentions=True)
    as_tuple = model(IDS, output_hidden_states=True, output_attentions=True, return_dict=False)
    assert isinstance(as_tuple, tuple)
    assert len(as_tuple) == len(output)
    assert torch.equal(as_tuple[0], output[0])
    assert len(output.hidden_states) == 4
    assert len(output.attentions) == 3


def test_the_config_decides_what_is_returned():
    model = build(gpt_torch.OpenAIGPTModel, CONFIG.replace(output_attentions=True, return_dict=False))
    last, attentions = model(IDS)
    assert last.shape == (2, 5, 14)
    assert attentions[0].shape == (2, 2, 5, 5)


def test_other_libraries_hand_on_the_output():
    """What they do to move or convert the tensors of an output keeps its class and fields."""
    output = build(gpt_torch.OpenAIGPTLMHeadModel)(IDS, labels=IDS)
    for again in (
        send_to_device(output, "cpu"),
        convert_to_fp32(output),
        torch.distributed.utils._apply_to_tensors(torch.clone, output),  # FSDP1
    ):
        assert type(again) is type(output)
        assert torch.equal(again.logits, again["logits"])
        assert again.loss.item() == output.loss.item()
