"""A padded row gives the numbers of the row alone, on either side, and nothing is ever not finite."""

import numpy as np
import pytest

from gptcore.errors import warn_once
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import ArrayInfo, check_inputs
from gptcore.spec.parameters import Head
from gptcore.spec.tolerances import TOLERANCES, output_error

CONFIG = OpenAIGPTConfig(vocab_size=41, n_positions=13, n_embd=14, n_head=2, n_layer=2, pad_token_id=0)
LENGTH = 7


@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padded_row_equals_the_row_alone(backend, make_checkpoint, side, attn_implementation):
    model = backend.load(make_checkpoint(CONFIG, Head.LM), Head.LM, attn_implementation=attn_implementation)
    row = np.random.default_rng(0).integers(0, 41, (1, LENGTH))
    alone = model.forward({"input_ids": row})["logits"][0]
    for padding in (1, CONFIG.n_positions - LENGTH):
        width = ((0, 0), (padding, 0) if side == "left" else (0, padding))
        inputs = {
            "input_ids": np.pad(row, width, constant_values=40),
            "attention_mask": np.pad(np.ones_like(row), width),
        }
        start = padding if side == "left" else 0
        padded = model.forward(inputs)["logits"][0, start : start + LENGTH]
        assert output_error(padded, alone) <= TOLERANCES["float32", "outputs"]


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
def test_rows_that_attend_to_nothing_are_finite(backend, make_checkpoint, dtype, attn_implementation):
    folder = make_checkpoint(CONFIG, Head.LM)
    model = backend.load(folder, Head.LM, dtype=dtype, attn_implementation=attn_implementation)
    ids = np.random.default_rng(0).integers(0, 41, (3, LENGTH))
    mask = np.array([[0] * LENGTH, [0] * 4 + [1] * 3, [1] * LENGTH])
    inputs = {"input_ids": ids, "attention_mask": mask, "labels": ids}
    assert np.isfinite(model.forward(inputs)["logits"]).all()
    losses, gradients = model.loss_and_gradients(inputs)
    assert np.isfinite(losses["loss"])
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


def test_classification_reads_the_last_attended_token(backend, make_checkpoint, caplog):
    warn_once.cache_clear()
    head = Head.SEQUENCE_CLASSIFICATION
    model = backend.load(make_checkpoint(CONFIG, head), head)
    row = np.random.default_rng(0).integers(1, 41, (1, LENGTH))
    alone = model.forward({"input_ids": row})["logits"][0]
    left = {"input_ids": np.pad(row, ((0, 0), (3, 0))), "attention_mask": np.pad(np.ones_like(row), ((0, 0), (3, 0)))}
    right = {"input_ids": np.pad(row, ((0, 0), (0, 4)))}  # the pad id says what is padding
    for inputs in (left, right):
        assert output_error(model.forward(inputs)["logits"][0], alone) <= TOLERANCES["float32", "outputs"]
    assert not caplog.messages


def test_a_classifier_that_cannot_tell_padding_warns(backend, make_checkpoint, caplog):
    warn_once.cache_clear()
    head = Head.SEQUENCE_CLASSIFICATION
    model = backend.load(make_checkpoint(CONFIG.replace(pad_token_id=None), head), head)
    ids = np.arange(8).reshape(2, 4)
    for inputs in ({"input_ids": ids[:1]}, {"input_ids": ids, "attention_mask": np.ones_like(ids)}):
        model.forward(inputs)
    assert not caplog.messages
    model.forward({"input_ids": ids})
    assert [message.split(",")[0] for message in caplog.messages] == [
        "The classifier reads the last column of every row"
    ]


def test_choices_with_padding_at_their_end_warn(caplog):
    """Checked without a framework, since each calls the same function."""
    warn_once.cache_clear()
    shape = (1, 2, 3)
    for column, more, warnings in ((0, (), 0), (2, ("mc_token_ids",), 0), (2, (), 1)):
        mask = np.ones(shape, np.int64)
        mask[0, 1, column] = 0
        arrays = {"input_ids": np.ones_like(mask), "attention_mask": mask}
        arrays |= {name: np.ones(shape[:-1], np.int64) for name in more}
        infos = {name: ArrayInfo(a.shape, a.dtype.name, lambda a=a: a) for name, a in arrays.items()}
        check_inputs(CONFIG, Head.DOUBLE_HEADS, infos)
        assert len(caplog.messages) == warnings
