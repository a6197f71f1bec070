"""The same mistake gives the same exception and text in every framework, before work starts."""

import numpy as np
import pytest

from gptcore.backends import load_tensors
from gptcore.errors import InputError
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import NARROW_INTEGERS
from gptcore.spec.parameters import Head

CONFIG = OpenAIGPTConfig(vocab_size=41, n_positions=13, n_embd=14, n_head=2, n_layer=3, num_labels=4)
IDS = np.arange(10).reshape(2, 5)
EMBEDS = np.zeros((2, 5, 14), np.float32)
CHOICES = np.arange(12).reshape(1, 3, 4)
LM, DOUBLE, CLASSIFY = Head.LM, Head.DOUBLE_HEADS, Head.SEQUENCE_CLASSIFICATION

WIDE = CONFIG.replace(vocab_size=160)
CALLS = {
    LM: {
        "input_ids": IDS,
        "attention_mask": np.ones_like(IDS),
        "token_type_ids": IDS + 7,
        "position_ids": IDS[:1] + 2,
        "labels": np.array([[0, 3, 100, 100, 5], [6, 100, 8, 1, 2]]),
    },
    DOUBLE: {"input_ids": CHOICES, "mc_token_ids": np.array([[3, 0, 2]]), "mc_labels": np.array([2])},
    CLASSIFY: {"input_ids": IDS, "attention_mask": np.array([[1] * 5, [1] * 3 + [0] * 2]), "labels": np.array([3, 0])},
}
TEXT = "input_ids must be numbers; got text. Use the tokenizer: model(**tokenizer(text, return_tensors=...))."
NO_ARRAYS = {
    "text": ("the cat", TEXT),
    "texts": (["the cat", "sat"], TEXT),
    "rows of different lengths": (
        [[1, 2], [3]],
        "input_ids must have rows of equal length. Pad the shorter rows, and pass attention_mask.",
    ),
    "a hole": ([[1, None]], "input_ids must be an array of numbers; got list of dtype object."),
    "no tokens": ([[]], "the sequence must have 1 to n_positions=13 tokens; got 0"),
}
MISTAKES = {
    "neither": (LM, {}, "pass either input_ids or inputs_embeds; got neither"),
    "both": (LM, {"input_ids": IDS, "inputs_embeds": EMBEDS}, "pass either input_ids or inputs_embeds; got both"),
    "flat ids": (LM, {"input_ids": IDS[0]}, r"input_ids must have shape (batch, ..., sequence); got (5,)"),
    "id too large": (LM, {"input_ids": IDS + 36}, "input_ids[1, 0] must be 0 to 40 (vocab_size=41); got 41"),
    "id negative": (LM, {"input_ids": IDS - 3}, "input_ids[0, 0] must be 0 to 40 (vocab_size=41); got -3"),
    "float ids": (LM, {"input_ids": IDS.astype(np.float32)}, "input_ids must have an integer dtype; got float32"),
    "too long": (
        LM,
        {"input_ids": np.zeros((1, 14), np.int64)},
        "the sequence must have 1 to n_positions=13 tokens; got 14. Shorten it or split it into windows.",
    ),
    "empty sequence": (LM, {"input_ids": IDS[:, :0]}, "the sequence must have 1 to n_positions=13 tokens; got 0"),
    "empty batch": (LM, {"input_ids": IDS[:0]}, "the batch must have at least one row; got shape (0, 5)"),
    "flat embeds": (
        LM,
        {"inputs_embeds": EMBEDS[0]},
        "inputs_embeds must have shape (batch, ..., sequence, n_embd=14); got (5, 14)",
    ),
    "narrow embeds": (
        LM,
        {"inputs_embeds": EMBEDS[..., 1:]},
        "inputs_embeds must have shape (batch, ..., sequence, n_embd=14); got (2, 5, 13)",
    ),
    "integer embeds": (LM, {"inputs_embeds": EMBEDS.astype(np.int64)}, "inputs_embeds must have a floating"),
    "mask of another shape": (
        LM,
        {"input_ids": IDS, "attention_mask": np.ones((2, 4), np.int64)},
        "attention_mask must have shape (2, 5); got (2, 4)",
    ),
    "mask of other values": (
        LM,
        {"input_ids": IDS, "attention_mask": IDS},
        "attention_mask must hold 1 (attend) and 0 (ignore) only; got 2",
    ),
    "types of another shape": (
        LM,
        {"input_ids": IDS, "token_type_ids": IDS[:1]},
        "token_type_ids must have shape (2, 5); got (1, 5)",
    ),
    "type too large": (LM, {"input_ids": IDS, "token_type_ids": IDS + 40}, "token_type_ids[0, 1] must be 0 to 40"),
    "position too large": (
        LM,
        {"input_ids": IDS, "position_ids": IDS + 4},
        "position_ids[1, 4] must be 0 to 12 (n_positions=13); got 13",
    ),
    "positions of another shape": (
        LM,
        {"input_ids": IDS, "position_ids": IDS[:, :4]},
        "position_ids must have shape (2, 5) or (1, 5) or (5,); got (2, 4)",
    ),
    "head mask of another shape": (
        LM,
        {"input_ids": IDS, "head_mask": np.ones(3, np.float32)},
        "head_mask must have shape (2,) or (3, 2); got (3,)",
    ),
    "labels of another shape": (
        LM,
        {"input_ids": IDS, "labels": IDS[:, 1:]},
        "labels must have shape (2, 5); got (2, 4)",
    ),
    "label too large": (
        LM,
        {"input_ids": IDS, "labels": IDS + 40},
        "labels[0, 1] must be 0 to 40 or -100 (ignored) (vocab_size=41); got 41",
    ),
    "label of -1": (LM, {"input_ids": IDS, "labels": IDS - 1}, "labels[0, 0] must be 0 to 40 or -100"),
    "float labels": (LM, {"input_ids": IDS, "labels": EMBEDS[..., 0]}, "labels must have an integer dtype"),
    "choice positions of another shape": (
        DOUBLE,
        {"input_ids": CHOICES, "mc_token_ids": np.zeros((1, 2), np.int64)},
        "mc_token_ids must have shape (1, 3); got (1, 2)",
    ),
    "choice position too large": (
        DOUBLE,
        {"input_ids": CHOICES, "mc_token_ids": np.full((1, 3), 4)},
        "mc_token_ids[0, 0] must be 0 to 3 (the sequence length=4); got 4",
    ),
    "choice labels of another shape": (
        DOUBLE,
        {"input_ids": CHOICES, "mc_labels": np.zeros((1, 3), np.int64)},
        "mc_labels must have shape (1,); got (1, 3)",
    ),
    "choice label too large": (
        DOUBLE,
        {"input_ids": CHOICES, "mc_labels": np.array([3])},
        "mc_labels[0] must be 0 to 2 or -100 (ignored) (the number of choices=3); got 3",
    ),
    "class too large": (
        CLASSIFY,
        {"input_ids": IDS, "labels": np.array([4, 0])},
        "labels[0] must be 0 to 3 or -100 (ignored) (num_labels=4); got 4",
    ),
    "classes as floats": (
        CLASSIFY,
        {"input_ids": IDS, "labels": np.array([3.0, 0.0])},
        "labels must be integers, or floats of shape (2, 4) for several labels at once; got dtype float64 and shape "
        "(2,). Cast class indices to integers.",
    ),
    "classes as booleans": (
        CLASSIFY,
        {"input_ids": IDS, "labels": np.array([True, False])},
        "labels must be integers, or floats of shape (2, 4) for several labels at once; got dtype bool and shape (2,).",
    ),
    "boolean ids": (LM, {"input_ids": IDS > 0}, "input_ids must have an integer dtype; got bool"),
    "id that int64 cannot hold": (
        LM,
        {"input_ids": np.full((1, 1), 2**64 - 1, np.uint64)},
        "input_ids[0, 0] must be 0 to 40 (vocab_size=41); got 18446744073709551615",
    ),
    "class labels of another shape": (
        CLASSIFY,
        {"input_ids": IDS, "labels": np.zeros((2, 3), np.float32)},
        "labels must have shape (2, 4); got (2, 3)",
    ),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A function (backend, head) -> model, each loaded once."""
    from trained_scale import trained_scale

    from gptcore.checkpoint import save_pretrained

    models = {}

    def load(backend, head, config=CONFIG):
        if (backend.name, head, config) not in models:
            folder = tmp_path_factory.mktemp(head.value)
            save_pretrained(folder, config, head, "float32", trained_scale(config, head))
            models[backend.name, head, config] = backend.load(folder, head)
        return models[backend.name, head, config]

    return load


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes(backend, loaded, mistake):
    head, inputs, message = MISTAKES[mistake]
    with pytest.raises(InputError) as caught:
        loaded(backend, head).forward(inputs)
    assert str(caught.value).startswith(message)


def test_all_backends_say_the_same(backends, loaded):
    for head, inputs, _ in MISTAKES.values():
        texts = set()
        for backend in backends:
            with pytest.raises(InputError) as caught:
                loaded(backend, head).forward(inputs)
            texts.add(str(caught.value))
        assert len(texts) == 1


def test_every_argument_has_a_mistake():
    """A new argument of the calls must come with a test of its misuse."""
    named = {name for _, inputs, _ in MISTAKES.values() for name in inputs}
    assert named == {
        "input_ids", "inputs_embeds", "attention_mask", "token_type_ids", "position_ids", "head_mask",
        "labels", "mc_token_ids", "mc_labels",
    }  # fmt: skip


def numbers(output):
    """The logits and losses of a model's output."""
    return {name: np.asarray(value.detach() if hasattr(value, "detach") else value) for name, value in output.items()}


@pytest.mark.parametrize("dtype", NARROW_INTEGERS)
@pytest.mark.parametrize("head", CALLS, ids=lambda head: head.value)
def test_integer_types_mean_the_same(backend, loaded, head, dtype):
    """Also 156, which is -100 modulo 256 and no ignored label; where a type is signed, -100 itself."""
    model = loaded(backend, head, WIDE).model
    signed = np.dtype(dtype).kind == "i"
    inputs = {name: np.where(array == 100, -100 if signed else 156, array) for name, array in CALLS[head].items()}
    expected = numbers(model(**{name: load_tensors(backend.name)(array) for name, array in inputs.items()}))
    for convert in (np.asarray, load_tensors(backend.name)):
        found = numbers(model(**{name: convert(array.astype(dtype)) for name, array in inputs.items()}))
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.parametrize("head", CALLS, ids=lambda head: head.value)
def test_lists_and_arrays_are_taken(backend, loaded, head):
    """Of any byte order and memory order; the caller's array stays as it is."""
    model = loaded(backend, head, WIDE).model
    inputs = CALLS[head]
    expected = numbers(model(**{name: load_tensors(backend.name)(array) for name, array in inputs.items()}))
    for convert in (np.ndarray.tolist, lambda a: a.astype(">i4"), lambda a: a[::-1].copy()[::-1], np.asfortranarray):
        arguments = {name: convert(array) for name, array in inputs.items()}
        first = arguments.pop("input_ids")
        found = numbers(model(first, **arguments))
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.parametrize("mistake", NO_ARRAYS)
@pytest.mark.parametrize("by_keyword", [False, True])
def test_what_is_no_array(backend, loaded, mistake, by_keyword):
    value, message = NO_ARRAYS[mistake]
    model = loaded(backend, LM).model
    with pytest.raises(InputError) as caught:
        model(input_ids=value) if by_keyword else model(value)
    assert str(caught.value).startswith(message)
    if value != [[]]:
        reads_text = backend.name == "tf" and mistake in ("text", "texts")  # with a tokenizer, which it lacks here
        with pytest.raises(InputError) as caught:
            model.generate(value)
        assert str(caught.value).startswith("cannot read text" if reads_text else message.partition(";")[0])


def test_a_mapping_is_unpacked(backend, loaded):
    """Keras takes a dict in the place of the first input."""
    model = loaded(backend, LM).model
    if backend.name == "tf":
        model({"input_ids": IDS})
        return
    with pytest.raises(InputError, match=r"input_ids must be an array; got dict\. Pass its entries: model\(\*\*inputs"):
        model({"input_ids": IDS})
