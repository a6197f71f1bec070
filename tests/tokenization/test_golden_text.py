"""Ids, tokens and decoded text are those of transformers 4.57.6, as ``make_golden_text.py`` wrote them down."""

import importlib.util
import json
from pathlib import Path

import pytest
from text_data import VOCABULARY

from tokenization import OpenAIGPTTokenizer, OpenAIGPTTokenizerFast

MODES = ("basic", "original")
HERE = Path(__file__).parent


def make_golden():
    spec = importlib.util.spec_from_file_location("make_golden_text", HERE / "make_golden_text.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MAKER = make_golden()
GOLDEN = json.loads((HERE / "golden.json").read_text())


@pytest.fixture(scope="module", params=MODES)
def mode(request):
    return request.param


@pytest.fixture(scope="module")
def plain(mode):
    return OpenAIGPTTokenizer.from_pretrained(VOCABULARY, pre_tokenizer=mode)


@pytest.fixture(scope="module")
def fast(mode):
    return OpenAIGPTTokenizerFast.from_pretrained(VOCABULARY, pre_tokenizer=mode)


def test_the_golden_file_holds_the_texts_of_its_maker():
    assert [item["text"] for item in GOLDEN["texts"]] == MAKER.texts()


def test_texts(mode, plain, fast):
    for item in GOLDEN["texts"]:
        ids, tokens, decoded = item[mode]
        text = item["text"]
        assert MAKER.row(plain, text) == [ids, tokens, decoded], ascii(text)
        assert fast(text).input_ids == ids, ascii(text)
        known = [token if plain.convert_tokens_to_ids(token) or mode == "original" else "<unk>" for token in tokens]
        assert fast.tokenize(text) == known, ascii(text)


@pytest.mark.parametrize("name", GOLDEN["digests"])
def test_digests(name, mode, plain, fast):
    texts = MAKER.large_texts()[name]
    assert MAKER.digest([MAKER.row(plain, text) for text in texts]) == GOLDEN["digests"][name][mode]
    assert [fast(text).input_ids for text in texts] == [plain(text).input_ids for text in texts]
    assert fast(texts).input_ids == plain(texts).input_ids
