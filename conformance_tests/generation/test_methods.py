"""``generate`` gives the same ids in every framework, cached or computed anew, alone or in a batch."""

import functools
import importlib

import numpy as np
import pytest
from generation_data import CONFIG, EOS, IDS, MASKS, weights
from trained_scale import trained_scale

from gptcore.backends import load_tensors
from gptcore.checkpoint import save_pretrained
from gptcore.errors import ConfigError, InputError, warn_once
from gptcore.generation import GenerationConfig, check_prompt, decode
from gptcore.generation.device import host_settings
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.spec.reference import Reference
from gptcore.spec.tolerances import TOLERANCES

METHODS = {
    "greedy": {},
    "repetition": {"repetition_penalty": 1.7, "no_repeat_ngram_size": 3},
    "words": {"bad_words_ids": [[14], [21, 40], [20, 20, 25]], "eos_token_id": EOS, "min_new_tokens": 5},
    "beams": {"num_beams": 3, "eos_token_id": EOS, "num_return_sequences": 2},
    "long beams": {"num_beams": 2, "eos_token_id": EOS, "length_penalty": 2.0, "early_stopping": "never"},
    "sampled": {"do_sample": True, "top_k": 0, "seed": 4, "num_return_sequences": 2},
    "filtered": {"do_sample": True, "top_k": 20, "top_p": 0.9, "temperature": 0.8, "min_p": 0.01, "seed": 5},
    "uncached": {"use_cache": False},
    "uncached beams": {"num_beams": 2, "use_cache": False},
    "typical": {"do_sample": True, "typical_p": 0.7, "eos_token_id": 14},
}


class ReferenceStepper:
    """The float64 reference, which computes the whole sequence again for each token."""

    def __init__(self, weights):
        self.model = Reference(CONFIG, weights, Head.LM)

    def start(self, input_ids, attention_mask, capacity):
        return self.run([ids[mask] for ids, mask in zip(input_ids, attention_mask, strict=True)])

    def step(self, tokens, state):
        return self.run([np.append(row, token) for row, token in zip(state, tokens, strict=True)])

    def reordered(self, state, rows):
        return [state[i] for i in rows]

    def run(self, rows):
        return np.stack([self.forward(row)["logits"][0, -1] for row in rows]).astype(np.float32), rows

    def forward(self, row):
        return self.model.forward({"input_ids": row[None]}, output_hidden_states=True)


@pytest.fixture(scope="module")
def reference():
    return ReferenceStepper(dict(weights()))


@pytest.fixture(scope="module")
def model(backend, tmp_path_factory):
    """One for all tests, so that each program is traced once."""
    folder = tmp_path_factory.mktemp("model")
    save_pretrained(folder, CONFIG, Head.LM, "float32", weights())
    return backend.load(folder, Head.LM)


def expected(reference, ids, mask=None, **settings):
    config = GenerationConfig(max_new_tokens=12, pad_token_id=1, **settings)
    return decode(reference, CONFIG, config, check_prompt(CONFIG, config, ids, mask)).sequences


def contrastive(reference, ids, alpha, top_k, new):
    """Contrastive search straight from Su et al. (2022), equations 2 and 4: each candidate is read from scratch."""
    for _ in range(new):
        output = reference.forward(ids)
        logits, known = output["logits"][0, -1], output["hidden_states"][-1][0]
        probabilities = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        scores = {}
        for token in np.argsort(-logits)[:top_k]:
            state = reference.forward(np.append(ids, token))["hidden_states"][-1][0, -1]
            likeness = known @ state / (np.linalg.norm(known, axis=-1) * np.linalg.norm(state))
            scores[token] = (1 - alpha) * probabilities[token] - alpha * likeness.max()
        ids = np.append(ids, max(scores, key=scores.get))
    return ids


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("side", MASKS)
def test_contrastive_search(model, reference, side, use_cache):
    settings = {"max_new_tokens": 12, "penalty_alpha": 0.6, "top_k": 4, "use_cache": use_cache}
    ids = model.generate(IDS, MASKS[side].astype(np.int64), **settings)
    for row, mask, start in zip(np.asarray(ids), MASKS[side], IDS, strict=True):
        np.testing.assert_array_equal(row[7:], contrastive(reference, start[mask], 0.6, 4, 12)[mask.sum() :])


@pytest.mark.parametrize("method", METHODS)
def test_ids_are_those_of_the_reference(model, reference, method):
    settings = {"max_new_tokens": 12, "pad_token_id": 1, **METHODS[method]}
    ids = model.generate(IDS, **settings)
    np.testing.assert_array_equal(ids, expected(reference, IDS, **METHODS[method]))


@pytest.mark.parametrize(
    "settings",
    [
        {"eos_token_id": EOS, "min_new_tokens": 4},
        {"eos_token_id": EOS, "min_length": 12},
        {"do_sample": True, "top_k": 0, "seed": 2**32 - 1, "num_return_sequences": 2},
        {"do_sample": True, "top_k": 9, "eos_token_id": EOS},
        {"do_sample": True, "top_k": 0, "top_p": 0.7, "temperature": 1.5},
        {"do_sample": True, "top_k": 1000, "min_p": 0.2},
    ],
    ids=str,
)
@pytest.mark.parametrize("side", [None, *MASKS])
def test_the_loop_on_the_device_gives_the_ids_of_the_one_on_the_host(model, side, settings):
    assert not host_settings(GenerationConfig(**settings))
    mask = None if side is None else MASKS[side].astype(np.int64)
    settings = {"max_new_tokens": 12, "pad_token_id": 1, **settings}
    on_host = model.generate(IDS, mask, output_scores=True, **settings)
    np.testing.assert_array_equal(model.generate(IDS, mask, **settings), on_host)


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
    config = CONFIG.replace(return_dict=False)  # which is for calls of the user
    save_pretrained(tmp_path, config, Head.LM, "float32", weights())
    model = backend.load(tmp_path, Head.LM, dtype=dtype)
    ids = np.asarray(model.generate(IDS, max_new_tokens=6))
    logits = np.asarray(model.forward({"input_ids": ids})["logits"], np.float64)[:, 6:-1]
    taken = np.take_along_axis(logits, ids[:, 7:, None], -1)[..., 0]
    room = 2 * TOLERANCES[dtype, "outputs"] * max(1, np.abs(logits).max())
    assert (logits.max(-1) - taken <= room).all()


def test_up_to_the_last_position_and_beyond(model, reference):
    whole = model.generate(IDS, max_new_tokens=33)
    assert whole.shape == (3, 40)
    with pytest.raises(InputError, match=r"34 tokens after a prompt of 7: n_positions=40 is less than 41"):
        model.generate(IDS, max_new_tokens=34)
    beyond = model.generate(IDS, max_new_tokens=60, context="sliding")
    np.testing.assert_array_equal(beyond[:, :40], whole)
    config = GenerationConfig(max_new_tokens=60, context="sliding")
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


FORWARD = {"torch": ("", "forward"), "tf": ("TF", "call"), "flax": ("Flax", "__call__")}


def test_a_subclass_with_settings_of_its_own(backend, make_checkpoint, tmp_path, caplog):
    """``generate`` follows an overridden forward pass, and ``generation_config.json`` beside the weights."""
    prefix, name = FORWARD[backend.name]
    parent = getattr(importlib.import_module(f"gpt_{backend.name}"), f"{prefix}OpenAIGPTLMHeadModel")

    @functools.wraps(getattr(parent, name))
    def forward(self, *arguments, **options):
        output = getattr(parent, name)(self, *arguments, **options)
        output["logits"] = output.logits * 0 + third
        return output

    third = load_tensors(backend.name)(np.eye(5, dtype=np.float32)[3])
    folder = make_checkpoint(OpenAIGPTConfig(vocab_size=5, n_positions=8, n_embd=4, n_layer=1, n_head=1), Head.LM)
    warn_once.cache_clear()
    more = {"suppress_tokens": [3], "forced_bos_token_id": None}
    GenerationConfig(max_new_tokens=2, extra=more).save_pretrained(folder)
    model = type("Threes", (parent,), {name: forward}).from_pretrained(folder, eos_token_id=4)
    assert model.generation_config == GenerationConfig(max_new_tokens=2, eos_token_id=4, extra=more)
    assert "suppress_tokens=[3] is not supported" in caplog.text
    assert "forced_bos" not in caplog.text
    assert np.asarray(model.generate(np.array([[1, 2], [0, 4]]))).tolist() == [[1, 2, 3, 3], [0, 4, 3, 3]]
    with pytest.raises(InputError, match=r"generation_config must be a .*GenerationConfig; got int"):
        model.generation_config = 3
    model.generation_config = model.generation_config.replace(max_new_tokens=3)
    model.save_pretrained(tmp_path / "again")
    assert GenerationConfig.from_pretrained(tmp_path / "again") == model.generation_config


@pytest.mark.parametrize(
    ("ids", "settings", "error", "message"),
    [
        (np.zeros((1, 0), np.int64), {}, InputError, "the prompt must have at least one token per row"),
        ([[1, 2], [3]], {}, InputError, "input_ids must have rows of equal length"),
        (IDS, {"attention_mask": np.zeros((3, 7))}, InputError, "a token to attend to; row 0 has none"),
        (IDS + 46, {}, InputError, "must be 0 to 52"),
        (
            np.ones((1, 41), np.int64),
            {"max_new_tokens": 1, "context": "sliding"},
            InputError,
            r"at most 40 tokens \(n_positions\); got 41. Shorten it",
        ),
        (IDS, {"max_length": 7}, InputError, "the prompt has 7 tokens, but max_length=7 includes"),
        (IDS, {"temprature": 2.0}, ConfigError, "unknown setting 'temprature'; did you mean 'temperature'"),
        (IDS, {"temperature": 0.0}, ConfigError, "temperature must be a number above 0; got 0.0"),
        (IDS, {"num_return_sequences": 2}, ConfigError, "would return equal sequences"),
        (IDS, {"stop_strings": "."}, InputError, "Pass tokenizer="),
        (IDS, {"generation_config": {"top_k": 3}}, InputError, "GenerationConfig; got dict. Pass its settings"),
    ],
)
def test_mistakes_are_errors_with_the_same_text(model, ids, settings, error, message):
    with pytest.raises(error, match=message):
        model.generate(ids, **settings)


@pytest.mark.parametrize("settings", [{}, {"do_sample": True, "top_p": 0.9, "min_p": 0.01}], ids=["greedy", "sampled"])
def test_nothing_to_choose_on_the_device(backend, make_checkpoint, settings):
    """One damaged weight, or an end of text that may not come yet where there is nothing else."""
    config = OpenAIGPTConfig(vocab_size=5, n_positions=8, n_embd=4, n_layer=1, n_head=1)
    folder = make_checkpoint(config, Head.LM)
    damaged = {name: np.array(array) for name, array in trained_scale(config, Head.LM)}
    damaged["tokens_embed.weight"][3] = np.nan
    save_pretrained(folder.parent / "damaged", config, Head.LM, "float32", damaged.items())
    ends = {"eos_token_id": [0, 1, 2, 3, 4], "min_new_tokens": 2}
    for path, more in ((folder.parent / "damaged", {}), (folder, ends)):
        with pytest.raises(InputError, match="cannot select a token in row 0"):
            backend.load(path, Head.LM).generate(np.array([[1, 2]]), max_new_tokens=3, **settings, **more)
