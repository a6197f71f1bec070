"""Recipes: the paper's numbers, schedules, files."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gptcore.cli.settings import parse_settings
from gptcore.errors import ConfigError
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.recipe import FINE_TUNING, PRESETS, PRETRAINING, SCHEDULES, Recipe


def test_the_papers_numbers():
    """Radford et al. 2018, section 4.1."""
    assert (PRETRAINING.learning_rate, PRETRAINING.warmup_steps, PRETRAINING.schedule) == (2.5e-4, 2000, "cosine")
    assert (PRETRAINING.epochs, PRETRAINING.batch_size, PRETRAINING.weight_decay) == (100, 64, 0.01)
    assert (FINE_TUNING.learning_rate, FINE_TUNING.warmup_ratio, FINE_TUNING.schedule) == (6.25e-5, 0.002, "linear")
    assert (FINE_TUNING.epochs, FINE_TUNING.batch_size, FINE_TUNING.lm_coefficient) == (3, 32, 0.5)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("cosine", [0, 0.5, 1, 0.5 + 0.5 * np.cos(np.pi / 3), 0.5 + 0.5 * np.cos(2 * np.pi / 3)]),
        ("linear", [0, 0.5, 1, 2 / 3, 1 / 3]),
        ("constant", [0, 0.5, 1, 1, 1]),
        ("original_cosine", [0, 0.5, 1, 0.5 + 0.5 * np.cos(0.6 * np.pi), 0.5 + 0.5 * np.cos(0.8 * np.pi)]),
        ("original_linear", [0, 0.5 * 0.8, 0.6, 0.4, 0.2]),
    ],
)
def test_schedules(schedule, expected):
    recipe = Recipe(learning_rate=2.0, schedule=schedule, warmup_steps=2)
    np.testing.assert_allclose(recipe.learning_rates(5), 2 * np.array(expected), atol=1e-12)


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(0, 50), st.integers(1, 40))
def test_rates_stay_in_range(schedule, warmup, total):
    rates = Recipe(learning_rate=1.0, schedule=schedule, warmup_steps=warmup).learning_rates(total)
    assert rates.shape == (total,)
    assert (rates >= 0).all()
    assert (rates <= 1).all()
    assert warmup or rates[0] == 1


@pytest.mark.parametrize("name", ["recipe.yaml", "recipe.json", "recipe.yml"])
def test_files(name, tmp_path):
    recipe = FINE_TUNING.replace(max_grad_norm=None, micro_batch_size=8, precision="bfloat16", group_by_length=True)
    recipe.write(tmp_path / name)
    assert Recipe.read(tmp_path / name) == recipe


def test_a_file_may_omit_settings(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("seed: 3", encoding="utf-8")
    assert Recipe.read(path) == Recipe(seed=3)
    assert Recipe.read(path, FINE_TUNING) == FINE_TUNING.replace(seed=3)


@pytest.mark.parametrize("name", ["self", "cls", "1", "null", "base"])
def test_a_file_with_an_unknown_setting(tmp_path, name):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"{name}: 1", encoding="utf-8")
    with pytest.raises(ConfigError, match="unknown setting"):
        Recipe.read(path)


def test_a_warm_up_that_does_not_end():
    (warning,) = PRETRAINING.warnings(325)
    assert "(2,000 updates) is longer than half of the run (325 updates)" in warning
    assert "The largest learning rate of the run is 4.05e-05; the setting is 0.00025." in warning
    assert "warmup_steps=32" in warning
    assert "raise epochs" in warning
    assert "raise max_steps" in PRETRAINING.replace(max_steps=325).warnings(325)[0]
    assert not PRETRAINING.warnings(4000)
    assert Recipe(warmup_steps=0, warmup_ratio=0.6).warnings(5)


def test_presets():
    assert PRESETS["paper"].recipe == PRETRAINING
    small = PRESETS["small"]
    for steps in (1, 20, 1000):
        assert not small.recipe.warnings(steps)
    assert small.recipe.learning_rates(100).max() == small.recipe.learning_rate
    assert OpenAIGPTConfig(vocab_size=4096, **small.sizes).n_positions == 128


SPELLINGS = {
    "learning_rate": {"2e-5": 2e-5, ".001": 0.001, "1.": 1.0, "+3E-4": 3e-4},
    "group_by_length": {"True": True, "False": False, "true": True},
    "max_steps": {"None": None, "null": None, "7": 7},
    "schedule": {"linear": "linear"},
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_settings_as_text(name, tmp_path):
    for text, value in SPELLINGS[name].items():
        (tmp_path / "r.yaml").write_text(f"\ufeff{name}: {text}\n", encoding="utf-8")
        assert getattr(Recipe.read(tmp_path / "r.yaml"), name) == value, text
        assert parse_settings([f"{name}={text}"], "--set") == {name: value}, text


BAD = {
    "learning_rate must be a number above 0; got 0": {"learning_rate": 0},
    "learning_rate must be a number above 0; got inf": {"learning_rate": float("inf")},
    "schedule must be one of 'cosine'.*; got 'step'": {"schedule": "step"},
    "batch_size must be an integer of at least 1; got 0": {"batch_size": 0},
    "batch_size must be a multiple of micro_batch_size=4; got 10": {"batch_size": 10, "micro_batch_size": 4},
    "unknown setting 'learning_rat'; did you mean 'learning_rate'": {"learning_rat": 1},
    r"adam_beta2 must be a number in \[0, 1\); got 1": {"adam_beta2": 1},
    "precision must be one of .*; got 'float16'": {"precision": "float16"},
    "group_by_length must be true or false; got 'yes'": {"group_by_length": "yes"},
    "max_grad_norm must be a number above 0; got 0": {"max_grad_norm": 0},
    r"seed must be an integer in \[0, 4294967295\]; got -1": {"seed": -1},
}


@pytest.mark.parametrize("message", BAD)
def test_wrong_settings(message):
    with pytest.raises(ConfigError, match=message):
        Recipe(**BAD[message])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("r.yaml", "a: [1", "is not valid YAML"),
        ("r.json", "{", "is not valid JSON"),
        ("r.yaml", "- 1", "must hold a mapping of settings; got list"),
        ("r.yaml", "learning_rate: fast", "learning_rate must be a number above 0; got 'fast'"),
        ("r.yaml", "a\0b\0", "is UTF-16, not UTF-8"),
        ("r.yaml", "!!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("r.json", json.dumps({"epoch": 2}), "did you mean 'epochs'"),
    ],
)
def test_wrong_files(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=message):
        Recipe.read(tmp_path / name)
    with pytest.raises(ConfigError, match="cannot read"):
        Recipe.read(tmp_path / "none.yaml")
