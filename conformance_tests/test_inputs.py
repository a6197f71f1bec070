"""The same mistake gives the same exception and text in every framework, before work starts."""

import numpy as np
import pytest

from gptcore.config import OpenAIGPTConfig
from gptcore.errors import InputError
from gptcore.parameters import Head

CONFIG = OpenAIGPTConfig(vocab_size=41, n_positions=13, n_embd=14, n_head=2, n_layer=3, num_labels=4)
IDS = np.arange(10).reshape(2, 5)
EMBEDS = np.zeros((2, 5, 14), np.float32)
CHOICES = np.arange(12).reshape(1, 3, 4)
LM, DOUBLE, CLASSIFY = Head.LM, Head.DOUBLE_HEADS, Head.SEQUENCE_CLASSIFICATION

MISTAKES = {
    "neither": (LM, {}, "pass either input_ids or inputs_embeds; received neither"),
    "both": (LM, {"input_ids": IDS, "inputs_embeds": EMBEDS}, "pass either input_ids or inputs_embeds; received both"),
    "flat ids": (LM, {"input_ids": IDS[0]}, r"input_ids has shape (5,); expected (batch, sequence)"),
    "id too large": (LM, {"input_ids": IDS + 36}, "input_ids[1, 0] is 41; allowed are 0 to 40 (vocab_size=41)"),
    "id negative": (LM, {"input_ids": IDS - 3}, "input_ids[0, 0] is -3; allowed are 0 to 40 (vocab_size=41)"),
    "float ids": (LM, {"input_ids": IDS.astype(np.float32)}, "input_ids has dtype float32; expected an integer type"),
    "too long": (
        LM,
        {"input_ids": np.zeros((1, 14), np.int64)},
        "the sequence has 14 tokens; allowed are 1 to n_positions=13; shorten it or split it into windows",
    ),
    "empty sequence": (LM, {"input_ids": IDS[:, :0]}, "the sequence has 0 tokens; allowed are 1 to n_positions=13"),
    "empty batch": (LM, {"input_ids": IDS[:0]}, "the batch is empty: shape (0, 5); pass at least one row"),
    "flat embeds": (LM, {"inputs_embeds": EMBEDS[0]}, "inputs_embeds has shape (5, 14); expected"),
    "narrow embeds": (LM, {"inputs_embeds": EMBEDS[..., 1:]}, "inputs_embeds has shape (2, 5, 13); expected"),
    "integer embeds": (LM, {"inputs_embeds": EMBEDS.astype(np.int64)}, "inputs_embeds has dtype int64; expected"),
    "mask of another shape": (
        LM,
        {"input_ids": IDS, "attention_mask": np.ones((2, 4), np.int64)},
        "attention_mask has shape (2, 4); expected (2, 5)",
    ),
    "mask of other values": (
        LM,
        {"input_ids": IDS, "attention_mask": IDS},
        "attention_mask holds 2; allowed are 1 (attend) and 0 (ignore)",
    ),
    "types of another shape": (
        LM,
        {"input_ids": IDS, "token_type_ids": IDS[:1]},
        "token_type_ids has shape (1, 5); expected (2, 5)",
    ),
    "type too large": (LM, {"input_ids": IDS, "token_type_ids": IDS + 40}, "token_type_ids[0, 1] is 41; allowed"),
    "position too large": (
        LM,
        {"input_ids": IDS, "position_ids": IDS + 4},
        "position_ids[1, 4] is 13; allowed are 0 to 12 (n_positions=13)",
    ),
    "positions of another shape": (
        LM,
        {"input_ids": IDS, "position_ids": IDS[:, :4]},
        "position_ids has shape (2, 4); expected (2, 5) or (1, 5) or (5,)",
    ),
    "head mask of another shape": (
        LM,
        {"input_ids": IDS, "head_mask": np.ones(3, np.float32)},
        "head_mask has shape (3,); expected (2,) or (3, 2)",
    ),
    "labels of another shape": (
        LM,
        {"input_ids": IDS, "labels": IDS[:, 1:]},
        "labels has shape (2, 4); expected (2, 5)",
    ),
    "label too large": (
        LM,
        {"input_ids": IDS, "labels": IDS + 40},
        "labels[0, 1] is 41; allowed are 0 to 40 or -100 (ignored) (vocab_size=41)",
    ),
    "label of -1": (LM, {"input_ids": IDS, "labels": IDS - 1}, "labels[0, 0] is -1; allowed are 0 to 40 or -100"),
    "float labels": (LM, {"input_ids": IDS, "labels": EMBEDS[..., 0]}, "labels has dtype float32; expected an integer"),
    "choice positions of another shape": (
        DOUBLE,
        {"input_ids": CHOICES, "mc_token_ids": np.zeros((1, 2), np.int64)},
        "mc_token_ids has shape (1, 2); expected (1, 3)",
    ),
    "choice position too large": (
        DOUBLE,
        {"input_ids": CHOICES, "mc_token_ids": np.full((1, 3), 4)},
        "mc_token_ids[0, 0] is 4; allowed are 0 to 3 (the sequence length=4)",
    ),
    "choice labels of another shape": (
        DOUBLE,
        {"input_ids": CHOICES, "mc_labels": np.zeros((1, 3), np.int64)},
        "mc_labels has shape (1, 3); expected (1,)",
    ),
    "choice label too large": (
        DOUBLE,
        {"input_ids": CHOICES, "mc_labels": np.array([3])},
        "mc_labels[0] is 3; allowed are 0 to 2 or -100 (ignored) (the number of choices=3)",
    ),
    "class too large": (
        CLASSIFY,
        {"input_ids": IDS, "labels": np.array([4, 0])},
        "labels[0] is 4; allowed are 0 to 3 or -100 (ignored) (num_labels=4)",
    ),
    "class labels of another shape": (
        CLASSIFY,
        {"input_ids": IDS, "labels": np.zeros((2, 3), np.float32)},
        "labels has shape (2, 3); expected (2, 4)",
    ),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """A function (backend, head) -> model, each loaded once."""
    from trained_scale import trained_scale

    from gptcore.checkpoint import save_pretrained

    models = {}

    def load(backend, head):
        if (backend.name, head) not in models:
            folder = tmp_path_factory.mktemp(head.value)
            save_pretrained(folder, CONFIG, head, "float32", trained_scale(CONFIG, head))
            models[backend.name, head] = backend.load(folder, head)
        return models[backend.name, head]

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
