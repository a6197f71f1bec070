"""Text made to hurt: defined ids, linear work, never a crash. Work is counted, not timed."""

import re

import pytest
from text_data import VOCABULARY
from tokenizer_kinds import KINDS, MODES

from tokenization.text_paths import english
from tokenization.text_paths.english import EnglishRules

N = 20_000

HOSTILE = {
    "empty": "",
    "blank": " \t\n\r \u3000",
    "spaces": " " * N,
    "line feeds": "\n" * N,
    "mixed newlines": "\r\n\r\x85\u2028\u2029\x0b\x0c" * (N // 8),
    "NUL": "\0" * N,
    "NUL between": "a\0" * (N // 2),
    "surrogates": "\ud800" * N,
    "reversed pairs": "\udc00\ud800" * (N // 2),
    "pairs": "\ud83d\ude00" * (N // 2),
    "one letter": "a" * N,
    "one word": "abcdefghij" * (N // 10),
    "exclamations": "!" * N,
    "colons": ":" * N,
    "quotes": "'" * N,
    "dollars": "$" * N,
    "dots": "." * N,
    "letters and colons": "a:" * (N // 2),
    "letters and dots": "a." * (N // 2),
    "addresses": "a@a." * (N // 4),
    "protocols": "http:" * (N // 5),
    "emoji": "\U0001f600" * N,
    "ideographs": "\u4e2d" * N,
    "marks in disorder": "a" + "\u0301\u0316" * (N // 2),
    "entities in entities": "&" + "amp;" * (N // 4),
    "mojibake on mojibake": "\u00c3" + "\u0192" * N,
    "escapes": "\x1b[" * (N // 2),
    "unknown tokens": "<unk>" * (N // 5),
    "almost tokens": "<un" * (N // 3),
    "dashes": "\u2014" * N,
    "private": "\ue000" * N,
    "unassigned": "\u0378\U000e0fff" * (N // 2),
}


@pytest.fixture(scope="module")
def tokenizers():
    return {
        (kind, mode): kind.from_pretrained(VOCABULARY, pre_tokenizer=mode, pad_token="<unk>")
        for kind in KINDS
        for mode in MODES
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", HOSTILE)
def test_ids_are_defined_and_the_same(name, mode, tokenizers):
    text = HOSTILE[name]
    plain, fast = (tokenizers[kind, mode] for kind in KINDS)
    ids = plain(text).input_ids
    assert all(0 <= token_id < 40_478 for token_id in ids)
    assert fast(text).input_ids == ids
    encoded = fast(text, return_offsets_mapping=True)
    assert encoded.input_ids == ids
    assert all(0 <= start <= end <= len(text) for start, end in encoded.offset_mapping)
    assert isinstance(fast.decode(ids, readable=True), str)
    assert plain.convert_tokens_to_ids(plain.tokenize(text)) == ids


@pytest.mark.parametrize("text", ["\ud800", "a\ud800b", "\ud83d\ude00", "\udc00\ud83d\ude00\ud800"])
def test_lone_surrogates_vanish_or_become_the_replacement_character(text, tokenizers):
    for kind in KINDS:
        basic, original = tokenizers[kind, "basic"], tokenizers[kind, "original"]
        kept = "".join(character for character in text if not "\ud800" <= character <= "\udfff")
        assert basic(text).input_ids == basic(kept).input_ids
        repaired = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        assert original(text).input_ids == original(repaired).input_ids


class Counting:
    """A compiled pattern that adds up how much text it was shown."""

    def __init__(self, pattern, shown):
        self.pattern, self.shown = pattern, shown

    def __getattr__(self, name):
        method = getattr(self.pattern, name)

        def counted(text, *args):
            self.shown.append(len(text))
            return method(text, *args)

        return counted


@pytest.mark.parametrize("unit", [":", "'", "$", "!", "a:", "a'", "http:", "\U0001f600", "'s", "x."])
def test_the_english_rules_look_at_each_character_a_bounded_number_of_times(unit, monkeypatch):
    monkeypatch.setattr(english, "_CACHED_WINDOWS", 0)
    rules = EnglishRules()
    shown = []
    for name in ("_prefix", "_suffix", "_infix"):
        setattr(rules, name, Counting(getattr(rules, name), shown))
    seen = []
    for length in (1000, 2000, 4000):
        shown.clear()
        rules.split(unit * (length // len(unit)))
        seen.append(sum(shown))
    assert seen[2] <= 100 * 4000
    assert seen[2] - seen[1] <= 2.5 * max(seen[1] - seen[0], 1000)


def test_addresses_are_not_looked_for_where_it_would_be_quadratic():
    rules = EnglishRules()
    asked = []
    match = rules._url_match
    rules._url_match = lambda text: (asked.append(text.count(":") * len(text)), match(text))[1]
    rules.split("a:" * 5000)
    rules.split("a.b:" * 10)
    assert 0 < max(asked) <= english._MAX_ADDRESS_STEPS


@pytest.mark.parametrize("unit", ["a", "ab", "the"])
def test_a_word_longer_than_the_limit_is_read_as_several(unit, monkeypatch, tokenizers):
    monkeypatch.setattr("tokenization.bpe.MAX_WORD_LENGTH", 30)
    word = unit * 40
    parts = re.findall(".{1,30}", word)
    for kind in KINDS:
        for mode in MODES:
            tokenizer = kind.from_pretrained(VOCABULARY, pre_tokenizer=mode)
            assert tokenizer(word).input_ids == tokenizer(" ".join(parts)).input_ids
            assert tokenizer.convert_tokens_to_ids(tokenizer.tokenize(word)) == tokenizer(word).input_ids
            assert tokenizer(word, return_offsets_mapping=True).offset_mapping[-1][1] == len(word)
