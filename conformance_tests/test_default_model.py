"""The bundled model: what its card says, in every framework."""

import functools
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from text_data import DATA

from gptcore import DEFAULT_MODEL, OpenAIGPTConfig
from gptcore.backends import load_backend
from gptcore.backends.training import load_trainers
from gptcore.spec.parameters import Head
from gptcore.spec.recipe import PRETRAINING, Recipe
from gptcore.training import Blocks, once, tokenize_corpus
from gptcore.training.evaluation import evaluate_lm
from gptcore.verify import verify
from tokenization import OpenAIGPTTokenizerFast

CARD = (Path(DEFAULT_MODEL) / "README.md").read_text(encoding="utf-8")
SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks" / "default_model.py"))  # made the card's figures
SAMPLES = re.findall(r"^\*\*(\d)\.\*\* (.*)$", CARD, re.MULTILINE)


@pytest.fixture(scope="module")
def tokenizer():
    return OpenAIGPTTokenizerFast.from_pretrained(DEFAULT_MODEL)


def test_it_is_small():
    assert sum(path.stat().st_size for path in Path(DEFAULT_MODEL).iterdir()) < 20_000_000


def test_its_recipe_can_be_read():
    assert Recipe.read(Path(DEFAULT_MODEL) / "recipe.yaml").epochs > 1


def test_its_tokenizer_knows_its_length(tokenizer):
    assert tokenizer.model_max_length == OpenAIGPTConfig.from_pretrained(DEFAULT_MODEL).n_positions
    assert len(tokenizer("the " * 999, truncation=True).input_ids) == tokenizer.model_max_length


def test_it_can_be_fine_tuned():
    """It was trained without dropout, on much text; on little, the paper's is wanted."""
    config = OpenAIGPTConfig.from_pretrained(DEFAULT_MODEL)
    assert (config.attn_pdrop, config.resid_pdrop, config.embd_pdrop) == (0.1, 0.1, 0.1)


def test_the_samples_of_the_card(tokenizer):
    """Ten seeds as they came; ``test_readme.py`` compares a sample of each framework."""
    model = load_backend("torch").load(DEFAULT_MODEL, Head.LM)
    ids = np.array([tokenizer(SCRIPT["PROMPT"]).input_ids])
    assert [int(seed) for seed, _ in SAMPLES] == list(range(10))
    for seed, text in SAMPLES:
        written = model.generate(ids, seed=int(seed), **SCRIPT["SETTINGS"])[0]
        assert tokenizer.decode(written, readable=True) == text


def test_the_bits_per_byte_of_the_card(backends, tokenizer, tmp_path):
    """Of a thirtieth of a book that it never saw; ``benchmarks/default_model.py`` measures whole books for the card."""
    book = DATA / "books" / "heldout" / "andrew-lang_the-olive-fairy-book.txt.xz"
    corpus = tokenize_corpus(book, tokenizer, tmp_path)
    blocks = [block for i, block in enumerate(Blocks(corpus.ids, 256)) if i % 30 == 0]
    measured = [
        evaluate_lm(
            load_trainers(backend.name)(DEFAULT_MODEL, Head.LM, PRETRAINING, 1),
            once(blocks, 16),
            corpus.bytes_per_token,
        ).metrics["bits_per_byte"]
        for backend in backends
    ]
    np.testing.assert_allclose(measured, measured[0], rtol=1e-6)
    (row,) = re.findall(r"^\| \*The Olive Fairy Book\* .* (\d\.\d+) \|$", CARD, re.MULTILINE)
    assert measured[0] == pytest.approx(float(row), rel=0.03)


@pytest.fixture
def short_verification(monkeypatch):
    """The demo compares a few tokens; ``test_verify.py`` has the whole comparison."""
    monkeypatch.setattr("gptcore.cli.demo.verify", functools.partial(verify, batch=1, length=5))


def test_the_demo(run, short_verification):
    status, out, _ = run("demo", "--max-new-tokens", 8)
    assert status == 0
    for words in ("torch", "tf", "flax", "the same", "bundled model", "all differences are within tolerance"):
        assert words in out


def test_a_demo_of_stories_that_differ_is_exit_status_1(run, short_verification, monkeypatch):
    class Other:
        """A backend that draws with another seed."""

        name = "other"

        def __init__(self):
            self.backend = load_backend("torch")
            self.capabilities = self.backend.capabilities

        def versions(self):
            return self.backend.versions()

        def load(self, *arguments, **options):
            model = self.backend.load(*arguments, **options)
            generate = model.generate
            model.generate = lambda *ids, seed, **settings: generate(*ids, seed=seed + 1, **settings)
            return model

    monkeypatch.setattr("gptcore.cli.demo.load_backends", lambda: [load_backend("torch"), Other()])
    status, out, _ = run("demo", "--max-new-tokens", 8)
    assert status == 1
    assert "the stories differ" in out


def test_commands_take_it_where_no_model_is_named(run, tokenizer):
    ids = " ".join(map(str, tokenizer("the cat").input_ids))
    assert run("tokenize", "--text", "the cat", "--format", "ids")[1].strip() == ids
    assert run("generate", "the cat", "--max-new-tokens", 2)[1].startswith("the cat")


def test_the_fine_tuning_of_the_card():
    """Its rows are those of the page that says how they were measured."""
    page = (Path(__file__).parents[1] / "docs" / "verified" / "fine-tuning.md").read_text(encoding="utf-8")
    measured = {tuple(row.split(" | ")[2:]) for row in page.splitlines()}
    rows = [row.split(" | ") for row in CARD.split("## Fine-tuned\n")[1].split("\n## ")[0].splitlines() if " ± " in row]
    assert len(rows) == 3
    assert {tuple(row[1:]) for row in rows} <= measured
