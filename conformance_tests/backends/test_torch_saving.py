"""State dicts and saved models: no weight is lost or changed."""

import copy

import pytest
import torch
from torch_models import CONFIG, IDS, build, every_model, largest_difference  # noqa: F401

import gpt_torch
from gptcore.errors import CheckpointError
from gptcore.spec.parameters import parameters


def test_state_dict_has_the_published_names(model):
    names = set(model.state_dict())
    prefix = "" if type(model) is gpt_torch.OpenAIGPTModel else "transformer."
    assert names == {
        name if name.startswith(("score", "multiple")) else prefix + name for name in parameters(CONFIG, model.head)
    }
    other = type(model)(CONFIG, seed=1).eval()
    other.load_state_dict(model.state_dict())
    assert largest_difference(other(IDS), model(IDS)) == 0


@pytest.mark.parametrize("head", [gpt_torch.OpenAIGPTLMHeadModel, gpt_torch.OpenAIGPTDoubleHeadsModel])
def test_a_state_dict_of_transformers(head):
    """It has the tied weight twice. One that differs is an error, as of any other unexpected key."""
    model, other = build(head), build(head)
    tensors = {**model.state_dict(), "lm_head.weight": model.transformer.tokens_embed.weight.detach().clone()}
    assert other.load_state_dict(tensors) == ([], [])
    assert torch.nn.ModuleDict({"gpt": other}).load_state_dict({f"gpt.{n}": t for n, t in tensors.items()}) == ([], [])
    assert "lm_head.weight" in tensors
    tensors["lm_head.weight"] += 1
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\) in state_dict: \"lm_head.weight\""):
        other.load_state_dict(tensors)


class Adapted(torch.nn.Module):
    """As PEFT puts an adapter around a module: ``weight`` is that of the base."""

    def __init__(self, base):
        super().__init__()
        self.base_layer = base
        self.delta = torch.nn.Parameter(torch.randn_like(base.weight))

    weight = property(lambda self: self.base_layer.weight)

    def forward(self, ids):
        return self.base_layer(ids) + self.delta[ids]


def test_an_adapter_on_the_embedding_is_on_the_head_too():
    """So merging it changes nothing; the head is the embedding."""
    model, merged = build(gpt_torch.OpenAIGPTLMHeadModel), build(gpt_torch.OpenAIGPTLMHeadModel)
    adapter = model.transformer.tokens_embed = Adapted(model.transformer.tokens_embed)
    merged.transformer.tokens_embed.weight.data += adapter.delta.data
    assert largest_difference(model(IDS, labels=IDS), merged(IDS, labels=IDS)) < 1e-4
    assert torch.equal(model.generate(IDS, max_new_tokens=3), merged.generate(IDS, max_new_tokens=3))


def linear(projection):
    """The same product as PyTorch's own module, which tools for quantization look for."""
    module = torch.nn.Linear(*projection.weight.shape)
    module.load_state_dict({"weight": projection.weight.detach().t(), "bias": projection.bias.detach()})
    return module


def test_projections_in_linear_layers_are_saved_as_they_were(tmp_path):
    model = build(gpt_torch.OpenAIGPTLMHeadModel)
    for block in model.transformer.h:
        for part, name in ((block.attn, "c_attn"), (block.attn, "c_proj"), (block.mlp, "c_fc"), (block.mlp, "c_proj")):
            setattr(part, name, linear(getattr(part, name)))
    model.save_pretrained(tmp_path)
    again = gpt_torch.OpenAIGPTLMHeadModel.from_pretrained(tmp_path)
    original = build(gpt_torch.OpenAIGPTLMHeadModel).state_dict()
    assert all(torch.equal(tensor, original[name]) for name, tensor in again.state_dict().items())
    assert largest_difference(model(IDS), again(IDS)) < 1e-4


FOREIGN = {
    "another shape": (
        lambda model: setattr(model, "score", torch.nn.Linear(14, 5, bias=False)),
        r"do not fit its config. .*\n  - score.weight must have shape \(3, 14\); got \(5, 14\)",
    ),
    "a kernel by columns": (
        lambda model: setattr(model.transformer.h[0].attn.c_attn, "weight", torch.nn.Parameter(torch.ones(42, 14))),
        r"h.0.attn.c_attn.weight must have shape \(14, 42\); got \(42, 14\)",
    ),
    "other parameters": (
        lambda model: setattr(model.transformer, "tokens_embed", Adapted(model.transformer.tokens_embed)),
        r"some are missing. .* merge and unload .*\n  - transformer.tokens_embed.weight",
    ),
    "a bias in the head": (
        lambda model: setattr(model, "score", torch.nn.Linear(14, 3)),
        r"(?s)no place for these parameters.*\n  - score.bias",
    ),
    "one more block": (
        lambda model: model.transformer.h.append(copy.deepcopy(model.transformer.h[0])),
        r"(?s)no place for these parameters.*\n  - transformer.h.3.attn.c_attn.weight",
    ),
}


@pytest.mark.parametrize(("replace", "message"), FOREIGN.values(), ids=FOREIGN)
def test_weights_that_do_not_fit_are_not_saved(tmp_path, replace, message):
    model = build(gpt_torch.OpenAIGPTForSequenceClassification)
    replace(model)
    with pytest.raises(CheckpointError, match=message):
        model.save_pretrained(tmp_path / "new")
    assert not list(tmp_path.glob("new/*"))


def test_weights_that_no_checkpoint_holds_are_an_error(tmp_path):
    model = build(gpt_torch.OpenAIGPTLMHeadModel)
    own = model.state_dict()
    model.probe = torch.nn.Linear(14, 2)
    for tensors in (None, model.state_dict()):
        with pytest.raises(
            CheckpointError, match=r"no place for these parameters(.*\n)+  - probe.weight\n  - probe.bias"
        ):
            model.save_pretrained(tmp_path, state_dict=tensors)
    assert not list(tmp_path.iterdir())
    model.save_pretrained(tmp_path, state_dict=own)


def test_a_gathered_state_dict_is_saved(model, tmp_path):
    tensors = {name: (tensor + 1).bfloat16() for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=tensors, is_main_process=True, save_function=torch.save)
    again = type(model).from_pretrained(tmp_path, dtype="auto")
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in again.state_dict().items())
    with pytest.raises(CheckpointError, match=r"some are missing.* pass a whole state_dict"):
        model.save_pretrained(tmp_path, state_dict={"module." + name: tensor for name, tensor in tensors.items()})


def test_weights_of_several_dtypes_are_saved_as_they_are(tmp_path):
    model = build(gpt_torch.OpenAIGPTModel).bfloat16()
    model.h[0].ln_1.float().weight.data.add_(2**-20)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(tensor.float(), again[name]) for name, tensor in model.state_dict().items())
    model.h[0].adapter = torch.nn.Linear(2, 3)
    with pytest.raises(CheckpointError, match=r"(?s)cannot save .* no place for .*h.0.adapter.weight"):
        model.save_pretrained(tmp_path)
