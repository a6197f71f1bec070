"""gpt_torch against the PyTorch classes of transformers, at trained scale, from files that transformers wrote."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import transformers
from ladder import flatten, output_errors
from trained_scale import trained_scale
from transformers.models.openai.modeling_openai import ACT_FNS

import gpt_torch
from gptcore.checkpoint.layouts.published import published_name
from gptcore.spec.config import ACTIVATIONS, SUMMARY_ACTIVATIONS, SUMMARY_TYPES, OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.spec.tolerances import TOLERANCES, gradient_errors

# Distinct sizes, prime where they can be; the epsilon is not the default, so that a constant cannot pass for it.
SIZES = {"vocab_size": 61, "n_positions": 19, "n_embd": 21, "n_head": 3, "n_layer": 2, "layer_norm_epsilon": 3e-4}
PAD = 60
RAGGED = [
    [0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1],
    [1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0],
    [0, 1, 1, 0, 1, 1, 0, 0, 1, 1, 0],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
    [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
]
INPUTS = ("full_length", "one_token", "types_positions_heads", "masked", "embeds")
EVERY_HEAD = pytest.mark.parametrize("head", list(Head), ids=lambda head: head.value)
BOTH_PRECISIONS = pytest.mark.parametrize("dtype", ["float32", "float64"])


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small models gain nothing by threads, and lose much to them on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_version_and_activations():
    assert transformers.__version__ == "4.57.6"
    assert set(ACT_FNS) == set(ACTIVATIONS)


@pytest.mark.parametrize("kind", INPUTS)
@BOTH_PRECISIONS
@pytest.mark.parametrize("afn", ACTIVATIONS)
@EVERY_HEAD
def test_outputs(tmp_path, head, afn, dtype, kind):
    write_with_transformers(tmp_path, head, afn=afn, num_labels=5, pad_token_id=PAD)
    assert_same_outputs(tmp_path, head, dtype, make_inputs(head, kind))


@pytest.mark.parametrize("projection", [(True, True), (True, False), (False, True)], ids=["score", "vector", "none"])
@pytest.mark.parametrize("activation", [None, *SUMMARY_ACTIVATIONS])
@pytest.mark.parametrize("summary_type", SUMMARY_TYPES)
def test_summaries(tmp_path, summary_type, activation, projection):
    settings = {"summary_use_proj": projection[0], "summary_proj_to_labels": projection[1]}
    settings |= {"summary_type": summary_type, "summary_activation": activation}
    write_with_transformers(tmp_path, Head.DOUBLE_HEADS, num_labels=5, **settings)
    # With more leading dimensions, transformers takes the last or first choice, or the mean over the choices.
    stream, shape = np.random.default_rng(0), (2, 3, 7) if summary_type == "cls_index" else (3, 7)
    inputs = {"input_ids": ids(stream, *shape), "labels": ids(stream, *shape)}
    # Without a projection to one score per choice, each choice has n_embd classes.
    rows, classes = (shape[:-2], 3) if all(projection) else (shape[:-1], SIZES["n_embd"])
    inputs["mc_labels"] = torch.from_numpy(np.asarray(stream.integers(0, classes, rows)))
    assert_same_outputs(tmp_path, Head.DOUBLE_HEADS, "float64", inputs)
    inputs["mc_token_ids"] = torch.from_numpy(stream.integers(0, 7, shape[:-1]))
    assert_same_outputs(tmp_path, Head.DOUBLE_HEADS, "float64", inputs)


@BOTH_PRECISIONS
@pytest.mark.parametrize("named", [False, True], ids=["by_labels", "by_config"])
@pytest.mark.parametrize(
    ("kind", "num_labels", "shape"),
    [
        ("regression", 1, (6,)),
        ("regression", 1, (6, 1)),
        ("regression", 3, (6, 3)),
        ("single_label_classification", 5, (6,)),
        ("multi_label_classification", 5, (6, 5)),
    ],
)
def test_classification_losses(tmp_path, kind, num_labels, shape, named, dtype):
    named = named or (kind, num_labels) == ("regression", 3)  # only the config tells it from several labels
    settings = {"num_labels": num_labels, "problem_type": kind if named else None}
    write_with_transformers(tmp_path, Head.SEQUENCE_CLASSIFICATION, pad_token_id=PAD, **settings)
    inputs, stream = make_inputs(Head.SEQUENCE_CLASSIFICATION, "masked"), np.random.default_rng(0)
    if kind != "single_label_classification":  # that has its labels: integers, one of them ignored
        labels = stream.standard_normal(shape) if kind == "regression" else stream.integers(0, 2, shape)
        inputs["labels"] = torch.from_numpy(labels.astype(dtype))
    assert_same_outputs(tmp_path, Head.SEQUENCE_CLASSIFICATION, dtype, inputs)


@pytest.mark.parametrize("kind", ["types_positions_heads", "masked"])
@BOTH_PRECISIONS
@EVERY_HEAD
def test_every_gradient(tmp_path, head, dtype, kind):
    write_with_transformers(tmp_path, head, num_labels=5, pad_token_id=PAD)
    inputs = make_inputs(head, kind)
    gradients = []
    for model, given in zip(load_both(tmp_path, head, dtype), (inputs, for_transformers(inputs)), strict=True):
        output = model(**given)
        losses = [value for name, value in output.items() if name.endswith("loss")]
        if not losses:  # the trunk: some function of its output at the real positions
            losses = [output.last_hidden_state[real_positions(inputs)].sin().sum()]
        sum(losses).backward()
        gradients.append({name: p.grad.numpy() for name, p in model.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    # transformers computes the loss of its LMHead, not that of its DoubleHeads, in float32 whatever the dtype.
    limit = TOLERANCES["float32" if head is Head.LM else dtype, "gradients"] * (2 if dtype == "float32" else 1)
    assert max(gradient_errors(*gradients).values()) <= limit


def test_released_sizes(tmp_path):
    """116,534,784 parameters and every position, in float32."""
    write_with_transformers(tmp_path, Head.LM, sizes={})
    x = torch.from_numpy(np.random.default_rng(0).integers(0, 40478, (1, 512)))
    assert_same_outputs(tmp_path, Head.LM, "float32", {"input_ids": x, "labels": x})


@pytest.mark.parametrize("max_shard_size", ["1GB", "5KB"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
@EVERY_HEAD
def test_either_reads_what_the_other_writes(tmp_path, head, dtype, max_shard_size):
    first, second = tmp_path / "first", tmp_path / "second"
    write_with_transformers(first, head, dtype, max_shard_size, num_labels=5)
    ours, our_report = ours_of(head).from_pretrained(first, dtype="auto", output_loading_info=True)
    ours.save_pretrained(second, max_shard_size=max_shard_size)
    for folder in (first, second):
        assert (len(list(folder.glob("*.safetensors"))) > 1) == (max_shard_size == "5KB")
    theirs, report = theirs_of(head).from_pretrained(second, dtype="auto", output_loading_info=True)
    assert not any(our_report.values())
    assert {"missing_keys", "unexpected_keys", "mismatched_keys"} <= report.keys()
    assert not any(report.values())
    original = theirs_of(head).from_pretrained(first, dtype="auto")
    assert original.dtype is theirs.dtype is ours.dtype is getattr(torch, dtype)
    assert_same_bits(ours.state_dict(), dict(original.named_parameters()))
    assert_same_bits(theirs.state_dict(), original.state_dict())  # lm_head.weight too


@pytest.mark.parametrize("wanted", list(Head), ids=lambda head: f"into_{head.value}")
@EVERY_HEAD
def test_checkpoints_of_another_head(tmp_path, head, wanted):
    """Each reads the trunk out of the other's files, and finds the same parameters missing."""
    first, second = tmp_path / "first", tmp_path / "second"
    write_with_transformers(first, head, num_labels=5)
    ours_of(head).from_pretrained(first).save_pretrained(second)
    ours, our_report = ours_of(wanted).from_pretrained(first, output_loading_info=True)
    theirs, report = theirs_of(wanted).from_pretrained(second, output_loading_info=True)
    written = theirs_of(head).from_pretrained(first).base_model.state_dict()
    assert_same_bits(theirs.base_model.state_dict(), written)
    assert_same_bits(ours.trunk.state_dict(), written)
    assert set(our_report["missing_keys"]) == set(report["missing_keys"])
    assert set(our_report["unexpected_keys"]) == set(report["unexpected_keys"])


@pytest.mark.parametrize("vocab_size", [43, 67])
@EVERY_HEAD
def test_resized_vocabulary(tmp_path, head, vocab_size):
    write_with_transformers(tmp_path, head, num_labels=5)
    ours, theirs = load_both(tmp_path, head, "float32")
    rows = ours.resize_token_embeddings(vocab_size).weight
    their_rows = theirs.resize_token_embeddings(vocab_size, mean_resizing=False).weight
    assert ours.config.vocab_size == theirs.config.vocab_size == len(rows) == len(their_rows) == vocab_size
    kept = min(vocab_size, SIZES["vocab_size"])
    assert_same_bits({"kept": rows[:kept]}, {"kept": their_rows[:kept]})
    ours.save_pretrained(tmp_path / "resized")
    read, report = theirs_of(head).from_pretrained(tmp_path / "resized", output_loading_info=True)
    assert not any(report.values())
    assert_same_bits(ours.state_dict(), dict(read.named_parameters()))


NOT_DEFAULT = {
    "vocab_size": 61, "n_positions": 19, "n_embd": 21, "n_layer": 2, "n_head": 3, "afn": "swish", "resid_pdrop": 0.25,
    "embd_pdrop": 0.0, "attn_pdrop": 0.5, "layer_norm_epsilon": 3e-4, "initializer_range": 0.03,
    "summary_type": "mean", "summary_use_proj": False, "summary_activation": "tanh", "summary_proj_to_labels": False,
    "summary_first_dropout": 0.3, "summary_last_dropout": 0.2, "num_labels": 3,
    "id2label": {0: "no", 1: "yes", 2: "perhaps"}, "label2id": {"no": 0, "yes": 1, "perhaps": 2},
    "problem_type": "regression", "pad_token_id": 60, "bos_token_id": 1, "eos_token_id": 2,
    "output_attentions": True, "output_hidden_states": True, "return_dict": False,
}  # fmt: skip


@pytest.mark.parametrize("settings", [NOT_DEFAULT, {}], ids=["not_default", "default"])
def test_config_files_are_lossless_both_ways(tmp_path, settings):
    names = {field.name for field in dataclasses.fields(OpenAIGPTConfig)} - {"extra"}
    assert names == NOT_DEFAULT.keys()
    extra = {"n_ctx": 19, "task_specific_params": {"text": {"do_sample": True}}}
    ours, theirs = OpenAIGPTConfig(**settings, extra=extra), transformers.OpenAIGPTConfig(**settings, **extra)
    ours.save_pretrained(tmp_path / "ours")
    theirs.save_pretrained(tmp_path / "theirs")
    read_by_ours = OpenAIGPTConfig.from_pretrained(tmp_path / "theirs")
    read_by_theirs = transformers.OpenAIGPTConfig.from_pretrained(tmp_path / "ours")
    wanted = {name: getattr(ours, name) for name in names} | extra
    assert {name: getattr(read_by_theirs, name) for name in wanted} == wanted
    assert read_by_ours.replace(extra=extra) == ours
    read_by_ours.save_pretrained(tmp_path / "theirs_again")
    read_by_theirs.save_pretrained(tmp_path / "ours_again")
    assert OpenAIGPTConfig.from_pretrained(tmp_path / "ours_again").replace(extra=extra) == ours
    written, again = (json.loads((tmp_path / name / "config.json").read_text()) for name in ("theirs", "theirs_again"))
    assert {**again, **written} == again  # ours writes every setting, transformers what differs from its defaults


def ours_of(head):
    return getattr(gpt_torch, head.architecture)


def theirs_of(head):
    return getattr(transformers, head.architecture)  # the classes have the same names


def write_with_transformers(folder, head, dtype="float32", max_shard_size="1GB", sizes=SIZES, **settings):
    """A model of transformers with trained-scale weights, saved by its own ``save_pretrained``."""
    config = OpenAIGPTConfig(**sizes, **settings)
    # DoubleHeads sets num_labels = 1 in the config that it is given, so each model gets a config of its own.
    model = theirs_of(head)(transformers.OpenAIGPTConfig(**sizes, **settings))
    weights = {published_name(name, head): torch.from_numpy(array) for name, array in trained_scale(config, head)}
    targets = dict(model.named_parameters())
    assert targets.keys() == weights.keys()
    for name, target in targets.items():
        target.data.copy_(weights[name])
    model.to(getattr(torch, dtype)).save_pretrained(folder, max_shard_size=max_shard_size)


def load_both(folder, head, dtype):
    return [models.from_pretrained(folder, dtype=getattr(torch, dtype)) for models in (ours_of(head), theirs_of(head))]


def ids(stream, *shape):
    """Token ids with both ends of the vocabulary among them, but no padding."""
    values = stream.integers(0, PAD, shape)
    values.flat[0], values.flat[-1] = PAD - 1, 0
    return torch.from_numpy(values)


def make_inputs(head, kind):
    """Inputs with everything that the head takes."""
    stream = np.random.default_rng(0)
    length = {"full_length": SIZES["n_positions"], "one_token": 1}.get(kind, len(RAGGED[0]))
    # transformers takes no inputs_embeds with more than one leading dimension.
    shape = (2, 3, length) if head is Head.DOUBLE_HEADS and kind != "embeds" else (6, length)
    inputs, labels = {"input_ids": ids(stream, *shape)}, ids(stream, *shape)
    last = torch.from_numpy(stream.integers(0, length, shape[:-1]))
    if kind == "full_length":  # padding that no mask tells of: classification alone looks for it
        rows = inputs["input_ids"].view(-1, length)
        rows[0, -3:] = rows[1, :2] = rows[2] = PAD
    if kind == "types_positions_heads":
        inputs["token_type_ids"] = ids(stream, *shape)
        inputs["position_ids"] = torch.from_numpy(stream.integers(0, SIZES["n_positions"], shape))
        inputs["head_mask"] = torch.from_numpy(stream.random((SIZES["n_layer"], SIZES["n_head"])))
        labels[..., ::3] = -100
    if kind == "masked":
        mask = torch.tensor(RAGGED).view(shape)
        inputs = {"input_ids": torch.where(mask == 1, inputs["input_ids"], PAD), "attention_mask": mask}
        real = mask.bool()
        # A padded query is another in transformers, so no label is predicted from one.
        labels[..., 1:] = labels[..., 1:].where(real[..., 1:] & real[..., :-1], -100)
        last = (mask * torch.arange(length)).amax(-1)
    if kind == "embeds":
        embeds = torch.from_numpy(stream.standard_normal((*shape, SIZES["n_embd"])))
        inputs = {"inputs_embeds": embeds.float(), "head_mask": torch.tensor([1.0, 0.0, 0.5])}
    if head in (Head.LM, Head.DOUBLE_HEADS) and kind != "one_token":  # no next token: NaN in transformers, 0 in ours
        inputs["labels"] = labels
    if head is Head.DOUBLE_HEADS:
        inputs |= {"mc_token_ids": last, "mc_labels": torch.from_numpy(np.asarray(stream.integers(0, 3, shape[:-2])))}
    if head is Head.SEQUENCE_CLASSIFICATION:
        inputs["labels"] = torch.tensor([4, 0, -100, 2, 1, 3])
    return inputs


def for_transformers(inputs):
    """The same call: there masks and positions have one leading dimension, and positions do not follow the mask."""
    inputs = dict(inputs)
    for name in {"attention_mask", "position_ids"} & inputs.keys():
        inputs[name] = inputs[name].flatten(0, -2)
    if "attention_mask" in inputs:
        inputs["position_ids"] = (inputs["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    return inputs


def real_positions(inputs):
    shape = inputs["input_ids"].shape if "input_ids" in inputs else inputs["inputs_embeds"].shape[:-1]
    return inputs.get("attention_mask", torch.ones(shape)).bool()


def at_real_positions(name, array, real):
    """A padded query with no token before it reads the future in transformers (-1e4), and itself in ours."""
    if name.startswith("attentions"):  # (B, H, T, S)
        return array.swapaxes(1, 2)[real.reshape(-1, real.shape[-1])]
    return array[real] if array.shape[: real.ndim] == real.shape else array


@torch.no_grad()
def assert_same_outputs(folder, head, dtype, inputs):
    """The fused kernel and the written-out form, against the latter: transformers has no other for this model."""
    ours, theirs = load_both(folder, head, dtype)
    real = real_positions(inputs).numpy()
    expected = flatten(theirs(**for_transformers(inputs), output_attentions=True, output_hidden_states=True))
    for name in expected:
        if name.startswith("hidden_states"):  # transformers merges leading dimensions in all but the last
            expected[name] = expected[name].reshape(*real.shape, -1)
    for output_attentions in (False, True):
        actual = flatten(ours(**inputs, output_attentions=output_attentions, output_hidden_states=True))
        wanted = {k: v for k, v in expected.items() if output_attentions or not k.startswith("attentions")}
        assert list(actual) == list(wanted)
        actual, wanted = ({k: at_real_positions(k, v, real) for k, v in arrays.items()} for arrays in (actual, wanted))
        in_float32 = {"loss": wanted.pop("loss")} if head is Head.LM and "loss" in wanted else {}  # see the gradients
        assert max(output_errors(actual, wanted).values()) <= TOLERANCES[dtype, "outputs"]
        assert max(output_errors(actual, in_float32).values(), default=0) <= TOLERANCES["float32", "outputs"]


def assert_same_bits(actual, expected):
    assert actual.keys() == expected.keys()
    for name, tensor in expected.items():
        assert actual[name].dtype is tensor.dtype
        assert torch.equal(actual[name].detach().view(torch.uint8), tensor.detach().view(torch.uint8)), name
