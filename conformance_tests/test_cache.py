"""With the KV cache, every position gives the numbers that it gives without."""

import numpy as np
import pytest

from gptcore.errors import InputError
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.spec.tolerances import TOLERANCES, output_error

CONFIG = OpenAIGPTConfig(vocab_size=41, n_positions=19, n_embd=14, n_head=2, n_layer=2)
IDS = np.random.default_rng(0).integers(0, 41, (3, 17))
MASKS = {
    "no padding": None,
    "left": np.arange(17) >= np.array([[0], [4], [16]]),
    "right": np.arange(17) < np.array([[5], [17], [1]]),
    "holes": np.arange(17) % np.array([[2], [5], [3]]) > 0,
}
CHUNKS = ((17,), (1,) * 17, (5, 3, 9))


def in_chunks(model, ids, mask, chunks, **options):
    """Logits of a sequence that is passed in pieces."""
    cache, start, logits = None, 0, []
    for length in chunks:
        stop = start + length
        inputs = {"input_ids": ids[:, start:stop]}
        if mask is not None:
            inputs["attention_mask"] = mask[:, start:stop].astype(np.int64)
        output = model.forward(inputs, past_key_values=cache, use_cache=True, **options)
        cache, start = output["past_key_values"], stop
        logits.append(output["logits"])
    return np.concatenate(logits, 1), cache


@pytest.fixture
def load(backend, make_checkpoint):
    def load(dtype="float32", attn_implementation="sdpa"):
        folder = make_checkpoint(CONFIG, Head.LM, dtype)
        return backend.load(folder, Head.LM, dtype=dtype, attn_implementation=attn_implementation)

    return load


@pytest.mark.parametrize("chunks", CHUNKS, ids=str)
@pytest.mark.parametrize("padding", MASKS)
def test_cached_equals_uncached(load, padding, chunks):
    model, mask = load(), MASKS[padding]
    inputs = {"input_ids": IDS} | ({} if mask is None else {"attention_mask": mask.astype(np.int64)})
    expected = np.asarray(model.forward(inputs)["logits"], np.float64)
    assert output_error(in_chunks(model, IDS, mask, chunks)[0], expected) <= TOLERANCES["float32", "outputs"]


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
@pytest.mark.parametrize("attn_implementation", ["sdpa", "eager"])
def test_other_types(load, dtype, attn_implementation):
    model, mask = load(dtype, attn_implementation), MASKS["left"]
    expected = model.forward({"input_ids": IDS, "attention_mask": mask.astype(np.int64)})["logits"]
    error = output_error(in_chunks(model, IDS, mask, (5, 3, 9))[0], np.asarray(expected, np.float64))
    assert error <= TOLERANCES[dtype, "outputs"]


def test_the_mask_may_cover_the_past_as_well(load):
    model, mask = load(), MASKS["left"].astype(np.int64)
    start = model.forward({"input_ids": IDS[:, :9], "attention_mask": mask[:, :9]}, use_cache=True)
    ends = []
    for end in (mask[:, 9:], mask):  # the new tokens; all tokens, as in transformers
        step = {"input_ids": IDS[:, 9:], "attention_mask": end}
        ends.append(model.forward(step, past_key_values=start["past_key_values"])["logits"])
    np.testing.assert_array_equal(*ends)


def test_padding_that_begins_later(load):
    """No mask at first, then one: the slots so far were all tokens."""
    model, mask = load(), np.ones((3, 17), np.int64)
    mask[1, 12] = 0
    start = model.forward({"input_ids": IDS[:, :9]}, use_cache=True)
    step = {"input_ids": IDS[:, 9:], "attention_mask": mask[:, 9:]}
    end = model.forward(step, past_key_values=start["past_key_values"])["logits"]
    expected = model.forward({"input_ids": IDS, "attention_mask": mask})["logits"][:, 9:]
    assert output_error(end, np.asarray(expected, np.float64)) <= TOLERANCES["float32", "outputs"]


@pytest.mark.parametrize("padding", ["no padding", "left"])
def test_attentions_and_hidden_states_of_the_new_tokens(load, padding):
    model, mask = load(), MASKS[padding]
    masks = [
        None if mask is None else mask[:, part].astype(np.int64) for part in (slice(12), slice(12, None), slice(None))
    ]
    first, second, whole = (
        {"input_ids": IDS[:, part]} | ({} if m is None else {"attention_mask": m})
        for part, m in zip((slice(12), slice(12, None), slice(None)), masks, strict=True)
    )
    flags = {"output_attentions": True, "output_hidden_states": True}
    cache = model.forward(first, use_cache=True)["past_key_values"]
    step, expected = model.forward(second, past_key_values=cache, **flags), model.forward(whole, **flags)
    for a, b in zip(step["hidden_states"], expected["hidden_states"], strict=True):
        assert output_error(a, np.asarray(b[:, 12:], np.float64)) <= TOLERANCES["float32", "outputs"]
    for a, b in zip(step["attentions"], expected["attentions"], strict=True):
        assert output_error(a[..., :17], np.asarray(b[:, :, 12:], np.float64)) <= TOLERANCES["float32", "outputs"]
        assert (a[..., 17:] == 0).all()  # slots that are still empty, where a cache is read whole


def test_rows_can_be_reordered(load):
    model, rows = load(), np.array([2, 0, 0, 1])
    mask = MASKS["left"].astype(np.int64)
    cache = model.forward({"input_ids": IDS[:, :9], "attention_mask": mask[:, :9]}, use_cache=True)["past_key_values"]
    step = {"input_ids": IDS[rows, 9:], "attention_mask": mask[rows, 9:]}
    reordered = model.forward(step, past_key_values=model.reordered(cache, rows))["logits"]
    expected = model.forward({"input_ids": IDS[rows], "attention_mask": mask[rows]})["logits"][:, 9:]
    assert output_error(reordered, np.asarray(expected, np.float64)) <= TOLERANCES["float32", "outputs"]


def test_mistakes_are_errors_with_the_same_text(load):
    model = load()
    cache = model.forward({"input_ids": IDS[:, :15]}, use_cache=True)["past_key_values"]
    for ids, mask, message in (
        (IDS[:, :5], None, r"cannot cache 15 \+ 5 = 20 tokens: past_key_values has 19 slots"),
        (IDS[:2, :1], None, "past_key_values must have 2 rows, like the input; got 3"),
        (IDS[:, :2], np.ones((3, 16), np.int64), r"must have shape \(3, 2\) or \(3, 17\); got \(3, 16\)"),
    ):
        inputs = {"input_ids": ids} | ({} if mask is None else {"attention_mask": mask})
        with pytest.raises(InputError, match=message):
            model.forward(inputs, past_key_values=cache)
    for length in (np.array([15, 15, 14]), np.int32(-1), np.float32(15)):
        with pytest.raises(InputError, match="the length of past_key_values must be one integer, at least 0"):
            model.forward({"input_ids": IDS[:, :1]}, past_key_values=cache._replace(length=length))
    with pytest.raises(InputError, match=r"past_key_values must be the KVCache .*; got DynamicCache\."):
        model.forward({"input_ids": IDS[:, :1]}, past_key_values=type("DynamicCache", (), {})())
    other = cache.empty(CONFIG, 3, dtype="float16")
    with pytest.raises(InputError, match="past_key_values must be float32, like the model; got float16"):
        model.forward({"input_ids": IDS[:, :1]}, past_key_values=other)
    other = cache._replace(keys=cache.keys * 2, values=cache.values * 2)
    with pytest.raises(InputError, match=r"past_key_values must have \(layers, heads, head size\) \(.*; got \("):
        model.forward({"input_ids": IDS[:, :1]}, past_key_values=other)
