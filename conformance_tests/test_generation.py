"""``generate`` gives the same ids in every framework, cached or computed anew, alone or in a batch."""

import numpy as np
import pytest
from trained_scale import trained_scale

from gptcore.config import OpenAIGPTConfig
from gptcore.errors import ConfigError, InputError
from gptcore.generation import GenerationConfig, check_prompt, decode
from gptcore.parameters import Head
from gptcore.reference import Reference
from gptcore.tolerances import TOLERANCES

CONFIG = OpenAIGPTConfig(vocab_size=53, n_positions=29, n_embd=24, n_head=3, n_layer=2)
IDS = np.random.default_rng(1).integers(2, 53, (3, 7))
MASKS = {
    "left": np.arange(7) >= np.array([[0], [3], [6]]),
    "right": np.arange(7) < np.array([[7], [4], [1]]),
}
EOS = [5, 9, 11, 20]
METHODS = {
    "greedy": {},
    "repetition": {"repetition_penalty": 1.7, "no_repeat_ngram_size": 3},
    "words": {"bad_words_ids": [[14], [21, 40], [20, 20, 25]], "eos_token_id": EOS, "min_new_tokens": 5},
    "beams": {"num_beams": 3, "eos_token_id": EOS, "num_return_sequences": 2},
    "long beams": {"num_beams": 2, "eos_token_id": EOS, "length_penalty": 2.0, "early_stopping": "never"},
    "sampled": {"do_sample": True, "top_k": 0, "seed": 4, "num_return_sequences": 2},
    "filtered": {"do_sample": True, "top_k": 20, "top_p": 0.9, "temperature": 0.8, "min_p": 0.01, "seed": 5},
    "typical": {"do_sample": True, "typical_p": 0.7, "eos_token_id": 14},
}


class ReferenceStepper:
    """The float64 reference, which computes the whole sequence again for each token."""

    def __init__(self, weights):
        self.model = Reference(CONFIG, weights, Head.LM)

    def start(self, input_ids, attention_mask, capacity):
        return self.logits([ids[mask] for ids, mask in zip(input_ids, attention_mask, strict=True)])

    def step(self, tokens, state):
        return self.logits([np.append(row, token) for row, token in zip(state, tokens, strict=True)])

    def reordered(self, state, rows):
        return [state[i] for i in rows]

    def logits(self, rows):
        found = [self.model.forward({"input_ids": row[None]})["logits"][0, -1] for row in rows]
        return np.stack(found).astype(np.float32), rows


def weights():
    """At a scale where the likeliest token changes from step to step."""
    return {name: w * 0.35 if name == "tokens_embed.weight" else w for name, w in trained_scale(CONFIG, Head.LM)}


@pytest.fixture(scope="module")
def reference():
    return ReferenceStepper(weights())


@pytest.fixture
def model(backend, tmp_path):
    from gptcore.checkpoint import save_pretrained

    save_pretrained(tmp_path, CONFIG, Head.LM, "float32", weights().items())
    return backend.load(tmp_path, Head.LM)


def expected(reference, ids, mask=None, **settings):
    config = GenerationConfig(max_new_tokens=12, pad_token_id=1, **settings)
    return decode(reference, CONFIG, config, check_prompt(CONFIG, config, ids, mask)).sequences


@pytest.mark.parametrize("method", METHODS)
def test_ids_are_those_of_the_reference(model, reference, method):
    settings = {"max_new_tokens": 12, "pad_token_id": 1, **METHODS[method]}
    ids = model.generate(IDS, **settings)
    np.testing.assert_array_equal(ids, expected(reference, IDS, **METHODS[method]))


@pytest.mark.parametrize("method", ["greedy", "repetition", "beams", "filtered"])
@pytest.mark.parametrize("side", MASKS)
def test_a_padded_row_is_continued_as_the_row_alone(model, reference, side, method):
    settings, mask = METHODS[method], MASKS[side]
    ids = model.generate(IDS, mask.astype(np.int64), max_new_tokens=12, pad_token_id=1, **settings)
    returned = settings.get("num_return_sequences", 1)
    for row in range(3):
        alone = expected(reference, IDS[row, mask[row]][None], **settings)[:, mask[row].sum() :]
        batched = ids[row * returned : (row + 1) * returned, 7:]
        np.testing.assert_array_equal(batched[:, : alone.shape[1]], alone)
        assert (batched[:, alone.shape[1] :] == 1).all()


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_other_types(backend, tmp_path, dtype):
    """Each token is the likeliest by the model's own uncached logits, but for what rounding leaves open."""
    from gptcore.checkpoint import save_pretrained

    save_pretrained(tmp_path, CONFIG, Head.LM, "float32", weights().items())
    model = backend.load(tmp_path, Head.LM, dtype=dtype)
    ids = np.asarray(model.generate(IDS, max_new_tokens=6))
    logits = np.asarray(model.forward({"input_ids": ids})["logits"], np.float64)[:, 6:-1]
    taken = np.take_along_axis(logits, ids[:, 7:, None], -1)[..., 0]
    room = 2 * TOLERANCES[dtype, "outputs"] * max(1, np.abs(logits).max())
    assert (logits.max(-1) - taken <= room).all()


def test_up_to_the_last_position_and_beyond(model, reference):
    whole = model.generate(IDS, max_new_tokens=22)
    assert whole.shape == (3, 29)
    with pytest.raises(InputError, match=r"7 prompt \+ 23 new tokens = 30, but n_positions=29"):
        model.generate(IDS, max_new_tokens=23)
    beyond = model.generate(IDS, max_new_tokens=40, context="sliding")
    np.testing.assert_array_equal(beyond[:, :29], whole)
    config = GenerationConfig(max_new_tokens=40, context="sliding")
    np.testing.assert_array_equal(
        beyond, decode(reference, CONFIG, config, check_prompt(CONFIG, config, IDS)).sequences
    )


def test_scores_and_a_streamer(model):
    class Streamer(list):
        def put(self, ids):
            self.append(np.asarray(ids))

        def end(self):
            self.append("end")

    output = model.generate(IDS, max_new_tokens=4, output_scores=True, return_dict_in_generate=True)
    assert len(output.scores) == 4
    assert all(np.asarray(scores).shape == (3, 53) for scores in output.scores)
    streamer = Streamer()
    ids = model.generate(IDS[:1], max_new_tokens=4, streamer=streamer)
    assert streamer.pop() == "end"
    np.testing.assert_array_equal(np.concatenate([streamer[0][0], *streamer[1:]]), ids[0])


@pytest.mark.parametrize(
    ("ids", "settings", "error", "message"),
    [
        (np.zeros((1, 0), np.int64), {}, InputError, "the prompt is empty"),
        ([[1, 2], [3]], {}, InputError, "input_ids has rows of different lengths"),
        (IDS, {"attention_mask": np.zeros((3, 7))}, InputError, "row 0 of the prompt has no token to attend to"),
        (IDS + 46, {}, InputError, "allowed are 0 to 52"),
        (IDS, {"max_length": 7}, InputError, "the prompt has 7 tokens, but max_length=7 counts"),
        (IDS, {"temprature": 2.0}, ConfigError, "unknown setting 'temprature'; did you mean 'temperature'"),
        (IDS, {"temperature": 0.0}, ConfigError, "temperature=0.0 must be a number above 0"),
        (IDS, {"num_return_sequences": 2}, ConfigError, "would all be the same"),
        (IDS, {"stop_strings": "."}, InputError, "pass tokenizer="),
    ],
)
def test_mistakes_are_errors_with_the_same_text(model, ids, settings, error, message):
    with pytest.raises(error, match=message):
        model.generate(ids, **settings)
