"""What PyTorch users expect of a module, beyond the numbers."""

import copy
import itertools
import pickle

import pytest
import torch
from accelerate import Accelerator, cpu_offload
from accelerate.state import AcceleratorState
from accelerate.utils import convert_to_fp32, send_to_device
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader
from trained_scale import trained_scale

import gpt_torch
import gptcore
from gpt_torch.training import adamw
from gpt_torch.weights import assign
from gptcore import ConfigError, OpenAIGPTConfig
from gptcore.errors import CheckpointError, InputError
from gptcore.generation import GenerationConfig
from gptcore.spec.config import ACTIVATIONS, SUMMARY_ACTIVATIONS
from gptcore.spec.parameters import Head, parameters
from gptcore.spec.recipe import Recipe

SIZES = {"vocab_size": 41, "n_positions": 13, "n_embd": 14, "n_head": 2, "n_layer": 3, "num_labels": 3}
CONFIG = OpenAIGPTConfig(**SIZES)
MODELS = {
    gpt_torch.OpenAIGPTModel: {},
    gpt_torch.OpenAIGPTLMHeadModel: {"labels": torch.arange(10).view(2, 5)},
    gpt_torch.OpenAIGPTDoubleHeadsModel: {"labels": torch.arange(10).view(2, 5), "mc_labels": torch.tensor(1)},
    gpt_torch.OpenAIGPTForSequenceClassification: {"labels": torch.tensor([2, 0])},
}
IDS = torch.arange(10).view(2, 5)


def build(model_class, config=CONFIG):
    model = model_class(config, seed=None)
    assign(model, trained_scale(config, model.head))
    return model.eval()


@pytest.fixture(params=MODELS, ids=lambda model_class: model_class.__name__)
def model(request):
    return build(request.param)


def largest_difference(a, b):
    assert a.keys() == b.keys()
    return max((a[name] - b[name]).abs().max().item() for name in a)


@pytest.mark.parametrize("masked", [False, True])
def test_compiles_without_graph_breaks(model, masked):
    """One graph for every model; two of the graphs go through the C++ compiler, which takes seconds for each."""
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 0]]) if masked else None
    inputs = {"input_ids": IDS, "attention_mask": mask, **MODELS[type(model)]}
    whole = {gpt_torch.OpenAIGPTLMHeadModel: False, gpt_torch.OpenAIGPTDoubleHeadsModel: True}
    compiler = "inductor" if whole.get(type(model)) is masked else "aot_eager"
    compiled = torch.compile(model, fullgraph=True, backend=compiler)(**inputs)
    assert type(compiled) is type(model(**inputs))
    assert largest_difference(compiled, model(**inputs)) < 1e-4


def test_state_dict_has_the_published_names(model):
    names = set(model.state_dict())
    prefix = "" if type(model) is gpt_torch.OpenAIGPTModel else "transformer."
    assert names == {
        name if name.startswith(("score", "multiple")) else prefix + name for name in parameters(CONFIG, model.head)
    }
    other = type(model)(CONFIG, seed=1).eval()
    other.load_state_dict(model.state_dict())
    assert largest_difference(other(IDS), model(IDS)) == 0


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


def test_autocast():
    model = build(gpt_torch.OpenAIGPTLMHeadModel)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(IDS, labels=IDS)
    assert output.loss.dtype is torch.float32
    assert abs(output.loss - model(IDS, labels=IDS).loss) < 0.2


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
    with pytest.raises(ConfigError, match="vocab_size=0"):
        model.resize_token_embeddings(0)


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
    assert "untrained weights, not in the checkpoint: score.weight" in caplog.text
    assert not model.training


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
    with pytest.raises(InputError, match=r"input_ids\[0, 0\] is 41"):
        build(gpt_torch.OpenAIGPTLMHeadModel)(IDS + 41)
    with pytest.raises(InputError, match="labels must have shape"):  # shapes everywhere
        build(gpt_torch.OpenAIGPTLMHeadModel).to("meta")(IDS.to("meta"), labels=IDS[:, :2].to("meta"))


def test_checkpointing_that_is_not_supported(model):
    with pytest.raises(
        InputError, match=r"every_n_layers must be 1 and offload False; got 2 and True. Leave them out."
    ):
        model.activation_checkpointing_enable(every_n_layers=2, offload=True)
    model.activation_checkpointing_enable()
    assert model.trunk.gradient_checkpointing
    model.activation_checkpointing_disable()
    assert not model.trunk.gradient_checkpointing


@pytest.mark.parametrize("device_map", ["cpu", "meta", {"": "cpu"}, torch.device("cpu"), None])
def test_loading_onto_a_device(tmp_path, device_map):
    build(gpt_torch.OpenAIGPTModel).save_pretrained(tmp_path)
    model = gpt_torch.OpenAIGPTModel.from_pretrained(tmp_path, device_map=device_map, torch_dtype=torch.bfloat16)
    assert model.dtype is torch.bfloat16
    assert model.device.type == ("meta" if device_map == "meta" else "cpu")
    assert gpt_torch.OpenAIGPTModel.from_pretrained(tmp_path, device_map="auto").device.type in ("cpu", "cuda")
    with pytest.raises(ConfigError, match=r"device_map must name one device; got .* Pass device_map='auto'"):
        gpt_torch.OpenAIGPTModel.from_pretrained(tmp_path, device_map={"h": 0, "tokens_embed": 1})


def test_a_gathered_state_dict_is_saved(model, tmp_path):
    tensors = {name: (tensor + 1).bfloat16() for name, tensor in model.state_dict().items()}
    model.save_pretrained(tmp_path, state_dict=tensors, is_main_process=True, save_function=torch.save)
    again = type(model).from_pretrained(tmp_path, dtype="auto")
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in again.state_dict().items())
    with pytest.raises(CheckpointError, match=r"some are missing.* pass a whole state_dict"):
        model.save_pretrained(tmp_path, state_dict={"module." + name: tensor for name, tensor in tensors.items()})


def test_workers_that_are_spawned():
    texts, score = ["the dog", "a cat sat", "the king"], gptcore.pipeline("score")
    loader = DataLoader(texts, 2, num_workers=1, multiprocessing_context="spawn", collate_fn=score)
    for result, expected in zip(itertools.chain(*loader), score(texts), strict=True):
        assert result == pytest.approx(expected, rel=1e-5)


def test_weights_of_several_dtypes_are_saved_as_they_are(tmp_path):
    model = build(gpt_torch.OpenAIGPTModel).bfloat16()
    model.h[0].ln_1.float().weight.data.add_(2**-20)
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(tensor.float(), again[name]) for name, tensor in model.state_dict().items())
    model.h[0].adapter = torch.nn.Linear(2, 3)
    with pytest.raises(CheckpointError, match=r"(?s)cannot save .* no place for .*h.0.adapter.weight"):
        model.save_pretrained(tmp_path)


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
