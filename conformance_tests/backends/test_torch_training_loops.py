"""What autocast, Accelerate and training loops of other libraries expect of a model."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch_models import CONFIG, IDS, build

import gpt_torch
from gptcore.generation import GenerationConfig


def test_autocast():
    model = build(gpt_torch.OpenAIGPTLMHeadModel)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(IDS, labels=IDS)
    assert output.loss.dtype is torch.float32
    assert abs(output.loss - model(IDS, labels=IDS).loss) < 0.2


def test_accelerate_mixed_precision():
    AcceleratorState._reset_state()  # of another test
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    model = build(
        gpt_torch.OpenAIGPTLMHeadModel, CONFIG.replace(resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    ).train()
    expected = model(IDS, labels=IDS).loss.item()
    model = accelerator.prepare(model)
    output = model(input_ids=IDS, labels=IDS)
    assert 0 < abs(output.loss.item() - expected) < 0.02 * expected
    accelerator.backward(output.loss)
    assert output.logits.dtype is torch.float32
    assert model.transformer.tokens_embed.weight.grad.abs().sum() > 0
    AcceleratorState._reset_state()  # one precision for the whole process


def test_what_loops_of_other_libraries_ask_for():
    model = build(gpt_torch.OpenAIGPTLMHeadModel, CONFIG.replace(eos_token_id=3))
    assert model.generation_config == GenerationConfig(eos_token_id=3)
    assert model.generate(IDS, max_new_tokens=2).shape == (2, 7)
    model.generation_config = GenerationConfig(max_new_tokens=4)
    assert model.generate(IDS).shape == (2, 9)
    assert model.generate(IDS, max_new_tokens=1).shape == (2, 6)
    assert model.generate(IDS, generation_config=GenerationConfig(max_new_tokens=2)).shape == (2, 7)
    handle = model.register_forward_hook(lambda module, inputs, output: setattr(output, "logits", output.logits * -1))
    last = model.generate(IDS, max_new_tokens=1)[:, -1]
    handle.remove()
    assert last.tolist() == model(IDS).logits[:, -1].argmin(-1).tolist()
    output = model(**model.prepare_inputs_for_generation(IDS, use_cache=True))
    longer = torch.cat([IDS, IDS[:, :1]], 1)
    inputs = model.prepare_inputs_for_generation(longer, output.past_key_values, torch.ones_like(longer))
    torch.testing.assert_close(model(**inputs).logits[:, -1], model(longer).logits[:, -1])
