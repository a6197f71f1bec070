"""The two text paths: against spaCy and ftfy themselves, by chunk as by line, and for every tokenizer alike."""

import itertools
import re
import subprocess
import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from text_data import ODD, TRICKY, VOCABULARY, books, edge_cases, paragraphs, random_texts

from gptcore.installation import install_command
from tokenization import OpenAIGPTTokenizer, OpenAIGPTTokenizerFast, TokenizerError
from tokenization.text_paths import modes
from tokenization.text_paths.alignment import Aligned
from tokenization.text_paths.basic import BasicPreTokenizer
from tokenization.text_paths.characters import is_dropped, lower, normalize
from tokenization.text_paths.english import EnglishRules
from tokenization.text_paths.original import OriginalPreTokenizer, standardize
from tokenization.text_paths.repair import MAX_ROUNDS, Repair

MODES = ("basic", "original")
TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.sampled_from(ODD), max_size=20),
    st.lists(st.sampled_from(TRICKY), max_size=20).map("".join),
    st.text(st.characters(codec=None), max_size=20),
)


@pytest.fixture(scope="module")
def rules():
    return EnglishRules()


@pytest.fixture(scope="module")
def spacy_tokenizer():
    from spacy.lang.en import English

    return English().tokenizer


@pytest.fixture(scope="module")
def paths():
    return {"basic": BasicPreTokenizer(), "original": OriginalPreTokenizer()}


@pytest.fixture(scope="module", params=MODES)
def path(request, paths):
    return paths[request.param]


def spacy_words(tokenizer, text):
    return [token.text for token in tokenizer(text)]


def without_surrogates(text):
    """spaCy cannot take them; the repair replaces them before."""
    return re.sub("[\ud800-\udfff]", "\ufffd", " ".join(text.split()))


def test_english_rules_are_spacys(rules, spacy_tokenizer):
    texts = edge_cases() + list(random_texts(6000, seed=7)) + paragraphs("heldout", 300)
    for text in filter(None, map(without_surrogates, texts)):
        assert rules.split_line(text.split(" ")) == spacy_words(spacy_tokenizer, text), ascii(text)


def test_neighbours_matter_to_spacy_and_to_us(rules, spacy_tokenizer):
    """The exception to the rule that a chunk can be treated alone."""
    alone, behind = spacy_words(spacy_tokenizer, "''a"), spacy_words(spacy_tokenizer, "' ''a")
    assert (alone, behind) == (["''", "a"], ["'", "'", "'", "a"])
    assert rules.split_alone("''a") is None
    assert rules.split_line(["''a"]) == alone
    assert rules.split_line(["'", "''a"]) == behind


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([*TRICKY, "'", "''", "'s", "a.m.", "<", "3", ":", ">", "."]), max_size=24))
def test_english_rules_are_spacys_in_odd_company(rules, spacy_tokenizer, parts):
    text = without_surrogates("".join(parts))
    if text:
        assert rules.split_line(text.split(" ")) == spacy_words(spacy_tokenizer, text)


def test_letters_alone_are_one_word(rules):
    """The short cut for words of small letters, against the rules themselves, on every word of the vocabulary."""
    vocabulary = OpenAIGPTTokenizer.from_pretrained(VOCABULARY, pre_tokenizer="basic").get_vocab()
    words = {piece.removesuffix("</w>") for piece in vocabulary}
    letters = "abcdefghijklmnopqrstuvwxyz"
    words |= {"".join(few) for length in (1, 2, 3) for few in itertools.product(letters, repeat=length)}
    for word in words:
        if re.fullmatch("[a-z]+", word) and word not in rules._special:
            assert not rules._prefix.match(word)
            assert not rules._suffix.search(word)
            assert not list(rules._infix.finditer(word))


def test_the_standardisation():
    """transformers' own, in its own regular expressions."""
    runs = re.compile(r"(-+|~+|!+|\"+|;+|\?+|\++|,+|\)+|\(+|\\+|/+|\*+|\[+|\]+|}+|{+|\|+|_+)")
    for text in [*random_texts(3000, seed=3), "a-b (c)", "a--b"]:
        plain = text
        for old, new in (("\u2014", "-"), ("\u2013", "-"), ("\u2015", "-"), ("\u2026", "..."), ("\u00b4", "'")):
            plain = plain.replace(old, new)
        assert standardize(text).split() == runs.sub(r" \1 ", plain).split()


def test_repair_is_ftfys():
    import ftfy

    repair = Repair()
    texts = edge_cases() + list(random_texts(6000, seed=9)) + paragraphs("heldout", 200)
    for text in [*texts, "\n".join(texts[:700]), "<b>\n&amp;\n" * 3, "&amp;\n<b>\n&amp;"]:
        assert repair(text) == ftfy.fix_text(text), ascii(text)


def test_no_pattern_of_ftfys_matches_a_dash_among_ascii():
    """What lets the repair skip text with dashes: every neighbourhood of two characters on each side."""
    from ftfy.badness import BADNESS_RE

    alphabet = [chr(code) for code in range(0x20, 0x7F)] + ["\u2014", "\u2013", "\n", "\t", "\x0c"]
    for dash in "\u2014\u2013":
        for before in itertools.product(alphabet, repeat=2):
            side = "".join(before)
            text = "".join(f"{side}{dash}{character}\n" for character in alphabet)
            assert not BADNESS_RE.search(text)
            assert not BADNESS_RE.search(text[::-1])


def test_repair_takes_a_bounded_number_of_rounds(monkeypatch):
    repair = Repair()
    lengths = []
    step = repair._ftfy._fix_encoding_one_step_and_explain

    def counted(text, config):
        lengths.append(len(text))
        return step(text, config)

    monkeypatch.setattr(repair._ftfy, "_fix_encoding_one_step_and_explain", counted)
    for text in ("&" + "amp;" * 5000, "\u00c3" + "\u0192" * 5000, "\u00c3" + "\x83" * 5000):
        lengths.clear()
        repair(text)
        assert 10 < sum(length > 1000 for length in lengths) <= MAX_ROUNDS


@settings(deadline=None, max_examples=300)
@given(TEXTS)
def test_chunks_lines_and_alignment_agree(path, text):
    text = lower(text)
    words = list(path.words(text))
    alone = []
    for block in path.blocks(text):
        for chunk in block:
            found = path.split(chunk)
            if found is None:
                alone = None
                break
            alone += found
        if alone is None:
            break
    assert alone is None or alone == words
    aligned = list(path.aligned_words(Aligned.identity(text)))
    assert [word.text for word in aligned] == words
    for word in aligned:
        assert len(word.starts) == len(word.ends) == len(word.text)
        assert all(0 <= start <= end <= len(text) for start, end in zip(word.starts, word.ends, strict=True))


@settings(deadline=None, max_examples=200)
@given(TEXTS)
def test_words_hold_no_white_space_but_the_line_break(path, text):
    for word in path.words(lower(text)):
        assert word == "\n" or word.split() == [word]


def test_normalisation_of_long_runs_of_marks():
    for run in ("\u0301\u0316" * 400, "\u0345\u0301\u0f73" * 200, "\u0301" * 999):
        for form in ("NFC", "NFD"):
            assert normalize(form, f"a{run}b") == unicodedata.normalize(form, f"a{run}b")


def test_characters_newer_than_unicode_14_are_unassigned_everywhere():
    assert is_dropped("\u0cf3")
    assert is_dropped("\U00031350")
    assert is_dropped("\U00011f3a")
    assert not is_dropped("\u0cf2")
    assert not is_dropped("\U0001fae7")


@pytest.fixture
def undecided(monkeypatch):
    """As if nothing had been decided or built in this process."""
    for name in ("_automatic", "_original"):
        getattr(modes, name).cache_clear()
    yield monkeypatch
    for name in ("_automatic", "_original"):
        getattr(modes, name).cache_clear()


def test_auto_is_original_where_it_can_be_and_says_so_once(undecided, caplog):
    for _ in range(2):
        assert OpenAIGPTTokenizerFast.from_pretrained(VOCABULARY).pre_tokenizer == "original"
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert "'auto' resolves to 'original'" in said[0]


@pytest.mark.parametrize("missing", ["spacy", "ftfy"])
def test_auto_is_basic_elsewhere_and_says_so_once(missing, undecided, caplog):
    undecided.setitem(sys.modules, missing, None)
    for loaded in [name for name in sys.modules if name.startswith(f"{missing}.")]:
        undecided.setitem(sys.modules, loaded, None)
    for _ in range(2):
        assert OpenAIGPTTokenizer.from_pretrained(VOCABULARY).pre_tokenizer == "basic"
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    for part in ("'auto' resolves to 'basic'", missing, "ids differ", install_command("original")):
        assert part in said[0]
    with pytest.raises(
        TokenizerError, match=rf"needs spaCy and ftfy.*is missing: {re.escape(install_command('original'))}"
    ):
        OpenAIGPTTokenizer.from_pretrained(VOCABULARY, pre_tokenizer="original")


def test_other_rules_are_an_error_not_other_ids(undecided):
    undecided.setattr(modes, "ORIGINAL_FINGERPRINTS", ("0123456789abcdef",))
    with pytest.raises(TokenizerError, match=r"needs 0123456789abcdef, so ids would differ.*spacy.*ftfy"):
        OpenAIGPTTokenizer.from_pretrained(VOCABULARY, pre_tokenizer="original")
    assert OpenAIGPTTokenizer.from_pretrained(VOCABULARY).pre_tokenizer == "basic"


def test_an_unknown_mode():
    with pytest.raises(TokenizerError, match="must be one of 'auto', 'original', 'basic'; got 'bert'"):
        OpenAIGPTTokenizer.from_pretrained(VOCABULARY, pre_tokenizer="bert")


def test_importing_and_the_basic_mode_load_neither_spacy_nor_ftfy():
    script = (
        "import sys, tokenization\n"
        "tokenization.OpenAIGPTTokenizerFast.from_pretrained(sys.argv[1], pre_tokenizer='basic')('a text')\n"
        "print(sorted({'spacy', 'ftfy', 'torch', 'tensorflow', 'jax', 'transformers'} & set(sys.modules)))"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(VOCABULARY)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


def test_whole_books(paths):
    """A text of many blocks is the texts of its lines."""
    text = lower("\n".join(books("heldout")[0].split("\n")[:400]))
    for path in paths.values():
        by_line = [list(path.words(line)) for line in text.split("\n")]
        words = [word for word in path.words(text) if word != "\n"]
        assert words == [word for line in by_line for word in line]
