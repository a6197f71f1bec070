"""Models as graphs, compiled or exported: where ids have no values and lengths are symbols."""

import pytest
import torch
from accelerate import cpu_offload
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch_models import IDS, MODELS, build, every_model, largest_difference  # noqa: F401

import gpt_torch
from gptcore.errors import InputError


@pytest.mark.parametrize("masked", [False, True])
def test_compiles_without_graph_breaks(model, masked):
    """One graph for every model; two of the graphs go through the C++ compiler, which takes seconds for each.

    Without vector instructions: to ask the compiler which it knows takes longer than to compile.
    """
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 0]]) if masked else None
    inputs = {"input_ids": IDS, "attention_mask": mask, **MODELS[type(model)]}
    whole = {gpt_torch.OpenAIGPTLMHeadModel: False, gpt_torch.OpenAIGPTDoubleHeadsModel: True}
    inductor = {"backend": "inductor", "options": {"cpp.vec_isa_ok": False}}
    compiler = inductor if whole.get(type(model)) is masked else {"backend": "aot_eager"}
    compiled = torch.compile(model, fullgraph=True, **compiler)(**inputs)
    assert type(compiled) is type(model(**inputs))
    assert largest_difference(compiled, model(**inputs)) < 1e-4


def per_example_gradients(model):
    """Of one weight, by function transforms over the ids, and one example after the other."""
    weights = {name: tensor.detach() for name, tensor in model.named_parameters()}

    def loss(weights, ids):
        return torch.func.functional_call(model, weights, (ids[None],), {"labels": ids[None]}).loss

    together = torch.func.vmap(torch.func.grad(loss), (None, 0))(weights, IDS)["transformer.positions_embed.weight"]
    for row, gradient in zip(IDS, together, strict=True):
        model.zero_grad()
        model(row[None], labels=row[None]).loss.backward()
        torch.testing.assert_close(gradient, model.transformer.positions_embed.weight.grad)


def on_meta(model):
    output = model.to("meta")(IDS.to("meta"), torch.ones_like(IDS, device="meta"), labels=IDS.to("meta"))
    assert (output.logits.shape, output.loss.device.type) == ((2, 5, 41), "meta")


def as_fake_tensors(model):
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        output = model(mode.from_tensor(IDS), labels=IDS)  # a real tensor has no readable values here either
    assert output.logits.shape == (2, 5, 41)


def as_a_graph(model):
    graph = make_fx(lambda ids: model(ids).logits, tracing_mode="symbolic", _allow_non_fake_inputs=True)(IDS)
    torch.testing.assert_close(graph(IDS[:, :3]), model(IDS[:, :3]).logits)


def offloaded(model):
    expected, ids = model(IDS).logits, model.generate(IDS, max_new_tokens=2)
    model = cpu_offload(model, execution_device="cpu")
    assert model.transformer.tokens_embed.weight.is_meta
    assert torch.equal(model(IDS).logits, expected)
    assert torch.equal(model.generate(IDS, max_new_tokens=2), ids)


def in_torchscript(model):
    model = model.double()  # by PyTorch's own product
    traced = torch.jit.trace(model, (IDS,))
    torch.testing.assert_close(traced(IDS[:, :3])[0], model(IDS[:, :3]).logits)


def exported(model):
    length = torch.export.Dim("length", min=2, max=13)
    program = torch.export.export(model, (IDS,), dynamic_shapes={"input_ids": {1: length}}).module()
    for ids in (IDS, IDS[:, :2], IDS.repeat(1, 2)):
        torch.testing.assert_close(program(ids).logits, model(ids).logits)


def compiled_once_for_all_lengths(model):
    graphs = []

    def count(graph, example_inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(model, fullgraph=True, backend=count)
    for ids in (torch.ones(2, length, dtype=torch.long) for length in (5, 3, 4, 13)):
        torch.testing.assert_close(compiled(ids).logits, model(ids).logits)
    assert len(graphs) == 2


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore:There is a performance drop:UserWarning"
)
@pytest.mark.parametrize(
    "use",
    [
        per_example_gradients,
        on_meta,
        as_fake_tensors,
        as_a_graph,
        offloaded,
        in_torchscript,
        exported,
        compiled_once_for_all_lengths,
    ],
)
def test_where_ids_have_no_values_or_lengths_are_symbols(use):
    use(build(gpt_torch.OpenAIGPTLMHeadModel).requires_grad_(use is per_example_gradients))


def test_values_are_checked_where_there_are_some():
    with pytest.raises(InputError, match=r"input_ids\[0, 0\] must be 0 to 40"):
        build(gpt_torch.OpenAIGPTLMHeadModel)(IDS + 41)
    with pytest.raises(InputError, match="labels must have shape"):  # shapes everywhere
        build(gpt_torch.OpenAIGPTLMHeadModel).to("meta")(IDS.to("meta"), labels=IDS[:, :2].to("meta"))
