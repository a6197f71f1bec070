"""Copies and pickles of a tokenizer."""

import copy
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

from tokenizer_kinds import MODES, load

from tokenization import OpenAIGPTTokenizerFast


def test_copies_and_pickles_are_independent(kind):
    for mode in MODES:
        tokenizer = load(kind, mode)
        tokenizer.add_tokens(["xyzzy"])
        for twin in (pickle.loads(pickle.dumps(tokenizer)), copy.deepcopy(tokenizer), copy.copy(tokenizer)):
            assert twin("Don't xyzzy\nhere").input_ids == tokenizer("Don't xyzzy\nhere").input_ids
            twin.add_tokens(["plugh"])
            assert len(twin) == len(tokenizer) + 1
            twin.add_special_tokens({"additional_special_tokens": ["_start_", "_delimiter_", "_classify_"]})
            twin.task = "classify"
            assert tokenizer.task is None


def test_threads_see_a_new_unknown_token():
    """Also those that call while another thread rebuilds the engine."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    tokenizer = load(OpenAIGPTTokenizerFast)
    try:
        for number in range(3):
            tokenizer.add_special_tokens({"unk_token": f"[NEW {number}]"})
            with ThreadPoolExecutor(4) as pool:
                ids = set(pool.map(lambda _: tokenizer("\u4e2d").input_ids[0], range(8)))
            assert ids == {tokenizer.unk_token_id}
    finally:
        sys.setswitchinterval(interval)


CALLS = {
    "a text": lambda tokenizer: tokenizer("a b"),
    "a text that is too long": lambda tokenizer: tokenizer("a b c d"),
    "offsets": lambda tokenizer: tokenizer("a b", return_offsets_mapping=True),
    "decoding": lambda tokenizer: tokenizer.decode([481]),
    "a token": lambda tokenizer: tokenizer.convert_ids_to_tokens(481),
    "backend": lambda tokenizer: getattr(tokenizer, "backend_tokenizer", None),
}


def test_calls_do_not_change_a_pickle(kind):
    """``datasets`` finds what it computed before by it."""
    tokenizer = load(kind, model_max_length=3)
    before = pickle.dumps(tokenizer)
    for call in CALLS.values():
        call(tokenizer)
        assert pickle.dumps(tokenizer) == before
    assert pickle.dumps(pickle.loads(before)) == before
