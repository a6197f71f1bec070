"""Ids, tokens, decoded text, files and offsets against transformers 4.57.6, in both modes."""

import itertools
import random
import sys
from importlib import resources
from pathlib import Path

import pytest
import transformers
from text_data import VOCABULARY, edge_cases, paragraphs, random_texts

from tokenization import AddedToken, OpenAIGPTTokenizer, OpenAIGPTTokenizerFast

MODES = ("basic", "original")
KINDS = (OpenAIGPTTokenizer, OpenAIGPTTokenizerFast)


def files():
    return str(VOCABULARY / "vocab.json"), str(VOCABULARY / "merges.txt")


def published(mode):
    """transformers' Python class; without spaCy it falls back to the basic path."""
    hidden = pytest.MonkeyPatch()
    transformers.logging.set_verbosity_error()
    if mode == "basic":
        hidden.setitem(sys.modules, "ftfy", None)
    try:
        return transformers.OpenAIGPTTokenizer(*files())
    finally:
        hidden.undo()


@pytest.fixture(scope="module")
def theirs():
    return {mode: published(mode) for mode in MODES}


@pytest.fixture(scope="module")
def theirs_fast():
    return transformers.OpenAIGPTTokenizerFast(*files())


@pytest.fixture(scope="module")
def plain():
    return {mode: OpenAIGPTTokenizer(*files(), pre_tokenizer=mode) for mode in MODES}


@pytest.fixture(scope="module")
def fast():
    return {mode: OpenAIGPTTokenizerFast(*files(), pre_tokenizer=mode) for mode in MODES}


@pytest.fixture(scope="module")
def texts():
    """At least 10,000, and no part may be missing."""
    code = [line for name in ("re/_parser.py", "json/decoder.py", "http/client.py") for line in source(name)]
    licences = [line for path in Path(transformers.__file__).parents[1].rglob("LICENSE*") for line in lines(path)][
        :1500
    ]
    parts = {
        "edge cases": edge_cases(),
        "books": paragraphs("train", 2500) + paragraphs("heldout", 500),
        "code": code,
        "licences": licences,
        "random": list(random_texts(7000)),
    }
    assert {name: len(part) >= 500 for name, part in parts.items()} == dict.fromkeys(parts, True)
    together = [text for part in parts.values() for text in part]
    assert len(together) >= 10_000
    return together


def lines(path):
    return path.read_text(encoding="utf-8", errors="replace").split("\n") if path.is_file() else []


def source(name):
    return resources.files("json").parent.joinpath(name).read_text(encoding="utf-8").split("\n")


@pytest.mark.parametrize("mode", MODES)
def test_ids_tokens_and_decoded_text(mode, texts, theirs, plain, fast):
    for text in texts:
        tokens = theirs[mode].tokenize(text)
        ids = theirs[mode].convert_tokens_to_ids(tokens)
        assert plain[mode].tokenize(text) == tokens, ascii(text)
        assert plain[mode](text).input_ids == ids, ascii(text)
        assert fast[mode](text).input_ids == ids, ascii(text)
        assert plain[mode].decode(ids) == theirs[mode].decode(ids), ascii(text)
        if mode == "original":
            assert fast[mode].tokenize(text) == tokens, ascii(text)


def test_the_fast_class_in_basic_mode(texts, theirs, theirs_fast, fast):
    """transformers' two classes differ on characters newer than Unicode 8 and on <UNK>: there the Python one counts."""
    compared = 0
    for text in texts:
        if any("\ud800" <= character <= "\udfff" for character in text):
            continue  # theirs cannot take it
        their_ids = theirs_fast(text).input_ids
        if their_ids != theirs["basic"](text).input_ids:
            assert not text.isascii(), ascii(text)
            continue
        compared += 1
        assert fast["basic"].tokenize(text) == theirs_fast.tokenize(text), ascii(text)
        assert fast["basic"].decode(their_ids) == theirs_fast.decode(their_ids), ascii(text)
    assert compared >= 10_000


def test_offsets_of_plain_text(theirs_fast, fast):
    for text in paragraphs("heldout", 300):
        expected = theirs_fast(text, return_offsets_mapping=True)["offset_mapping"]
        assert fast["basic"](text, return_offsets_mapping=True).offset_mapping == expected, ascii(text)


@pytest.mark.parametrize("mode", MODES)
def test_whole_books(mode, theirs, fast):
    """One text of many lines: line breaks, and the memory between lines."""
    text = "\n".join(paragraphs("train", 400))
    assert fast[mode](text).input_ids == theirs[mode](text).input_ids


def test_any_ids_decode_alike(theirs, theirs_fast, plain, fast):
    draw = random.Random(1)
    for _ in range(500):
        ids = [draw.choice([0, 40477, draw.randrange(40478)]) for _ in range(draw.randrange(12))]
        for skip in (False, True):
            for clean in (False, True):
                settings = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
                assert plain["basic"].decode(ids, **settings) == theirs["basic"].decode(ids, **settings)
                assert fast["basic"].decode(ids, **settings) == theirs_fast.decode(ids, **settings)


@pytest.mark.filterwarnings(
    "ignore:Deprecated in 0.10.0:DeprecationWarning"
)  # transformers calls tokenizers the old way
def test_saved_vocabulary_has_the_same_bytes(tmp_path, theirs, theirs_fast, plain, fast):
    for name, ours, published in (("p", plain["basic"], theirs["basic"]), ("f", fast["basic"], theirs_fast)):
        for side, tokenizer in (("ours", ours), ("theirs", published)):
            (tmp_path / f"{name}-{side}").mkdir()
            written = tokenizer.save_vocabulary(str(tmp_path / f"{name}-{side}"), "x")
            assert [Path(file).name for file in written] == ["x-vocab.json", "x-merges.txt"]
        for file in ("x-vocab.json", "x-merges.txt"):
            assert (tmp_path / f"{name}-ours" / file).read_bytes() == (tmp_path / f"{name}-theirs" / file).read_bytes()


ADDED = [
    ({"pad_token": "<pad>", "bos_token": "_Start_", "additional_special_tokens": ["_delimiter_"]}, ["New Word", "zig"]),
    ({"pad_token": AddedToken("[PAD]", lstrip=True, rstrip=True)}, [AddedToken("word", single_word=True)]),
]
WITH_ADDED = [
    "a _Start_ b _start_ c_delimiter_d <pad>",
    "new word NEW WORD newword zigzag",
    "x  [PAD]  y [pad] wordy word aword",
    "<unk> <UNK>",
    "_Start_",
    "",
]


@pytest.mark.parametrize(("special", "added"), ADDED, ids=["plain", "flags"])
def test_added_tokens(special, added, tmp_path):
    theirs = published("basic")
    tokenizers = [theirs, *(kind(*files(), pre_tokenizer="basic") for kind in KINDS)]
    counts = [(tokenizer.add_special_tokens(special), tokenizer.add_tokens(added)) for tokenizer in tokenizers]
    assert counts[1:] == counts[:1] * 2
    for ours in tokenizers[1:]:
        assert len(ours) == len(theirs)
        assert ours.get_vocab() == theirs.get_vocab()
        assert ours.special_tokens_map == theirs.special_tokens_map
        assert ours.all_special_ids == theirs.all_special_ids
        for text in WITH_ADDED:
            ids = theirs(text).input_ids
            assert ours(text).input_ids == ids, text
            assert ours.encode(text, add_special_tokens=False) == ids
            if ours is tokenizers[1]:
                for skip in (False, True):
                    assert ours.decode(ids, skip_special_tokens=skip) == theirs.decode(ids, skip_special_tokens=skip)


@pytest.mark.parametrize(("special", "added"), ADDED, ids=["plain", "flags"])
@pytest.mark.parametrize("kind", KINDS)
def test_folders_go_both_ways(kind, special, added, tmp_path):
    ours = kind(*files(), pre_tokenizer="basic", model_max_length=512)
    ours.add_special_tokens(special)
    ours.add_tokens(added)
    ours.save_pretrained(tmp_path / "ours")
    read = getattr(transformers, kind.__name__).from_pretrained(str(tmp_path / "ours"))
    if kind is OpenAIGPTTokenizerFast:
        assert read.model_max_length == 512
        read.save_pretrained(str(tmp_path / "theirs"))
    else:
        theirs = published("basic")
        theirs.add_special_tokens(special)
        theirs.add_tokens(added)
        theirs.save_pretrained(str(tmp_path / "theirs"))
    assert read.get_vocab() == ours.get_vocab()
    for folder in ("ours", "theirs"):
        again = kind.from_pretrained(tmp_path / folder, pre_tokenizer="basic")
        assert again.get_vocab() == ours.get_vocab()
        assert again.special_tokens_map == ours.special_tokens_map
        for text in WITH_ADDED:
            assert again(text).input_ids == ours(text).input_ids


CALLS = [
    {},
    {"padding": True},
    {"padding": "max_length", "max_length": 20, "truncation": True},
    {"padding": True, "pad_to_multiple_of": 8, "padding_side": "left"},
    {"truncation": "only_first", "max_length": 16},
    {"truncation": True, "max_length": 5, "return_token_type_ids": True, "return_special_tokens_mask": True},
    {"max_length": 4},
    {"padding": True, "return_tensors": "np", "return_length": True, "return_token_type_ids": True},
    {"return_attention_mask": False},
]


@pytest.mark.parametrize("settings", CALLS, ids=[",".join(settings) or "none" for settings in CALLS])
@pytest.mark.parametrize("truncation_side", ["right", "left"])
def test_calls(settings, truncation_side):
    theirs, ours = published("basic"), OpenAIGPTTokenizer(*files(), pre_tokenizer="basic")
    fast = OpenAIGPTTokenizerFast(*files(), pre_tokenizer="basic")
    for tokenizer in (theirs, ours, fast):
        tokenizer.add_special_tokens({"pad_token": "<pad>"})
        tokenizer.truncation_side = truncation_side
    short, long = "one two three", "it was the best of times, it was the worst of times."
    inputs = [
        (short,),
        ([short, long, short + long],),
        (long, short),
        ([short, long], [long, short + short]),
        ([long],),
    ]
    for texts in inputs:
        expected = theirs(*texts, **settings)
        for tokenizer in (ours, fast):
            result = tokenizer(*texts, **settings)
            assert set(result) == set(expected)
            for key in expected:
                assert type(result[key]) is type(expected[key])
                if settings.get("return_tensors"):
                    assert result[key].dtype == expected[key].dtype
                    assert result[key].tolist() == expected[key].tolist()
                else:
                    assert result[key] == expected[key], key


def test_encode_and_pad(theirs):
    ours = OpenAIGPTTokenizer(*files(), pre_tokenizer="basic", pad_token="<unk>")
    published_ = published("basic")
    published_.pad_token = "<unk>"
    for arguments in (("a b",), ("a b", "c"), (["a</w>", "zzz"],), ([5, 6],)):
        assert ours.encode(*arguments) == published_.encode(*arguments)
    rows = [{"input_ids": [1, 2, 3]}, {"input_ids": [4]}]
    for settings in ({}, {"padding": "max_length", "max_length": 6}, {"return_tensors": "np"}):
        expected = published_.pad([dict(row) for row in rows], **settings)
        result = ours.pad([dict(row) for row in rows], **settings)
        assert set(result) == set(expected)
        for key in expected:
            assert [list(row) for row in result[key]] == [list(row) for row in expected[key]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", ["right", "left"])
def test_overflow(kind, side):
    """What truncation cuts off, in rows of its own: transformers' fast class, for both of ours."""
    ours = kind(*files(), pre_tokenizer="basic", pad_token="<unk>")
    published_ = transformers.OpenAIGPTTokenizerFast(*files(), pad_token="<unk>")
    ours.truncation_side = published_.truncation_side = side
    long = "it was the best of times, it was the worst of times."
    for arguments in ((long,), (["one two", long, ""],), (long, "one two"), ([long, "a"], ["b c", "d"])):
        for length, stride, padding in itertools.product((8, 9, 10), (0, 1, 3), (False, True, "max_length")):
            settings = {"truncation": "only_first", "max_length": length, "stride": stride, "padding": padding}
            settings |= {"return_overflowing_tokens": True, "return_offsets_mapping": True}
            assert ours(*arguments, **settings) == dict(published_(*arguments, **settings)), settings
