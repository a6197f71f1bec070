"""What tests generation is tested itself: planted defects must turn it red, and a copy without one must not."""

import json
from pathlib import Path

import numpy as np
import pytest
from defects import read_defects
from generation_data import COMMON, CONFIG, EOS, IDS, MASKS, weights

from gptcore import InputError
from gptcore.checkpoint import save_pretrained
from gptcore.generation.device import host_settings
from gptcore.generation.request import settled
from gptcore.spec.parameters import Head

HERE = Path(__file__).parent
DEFECTS = read_defects(HERE)
GOLDEN = json.loads((HERE / "golden.json").read_text())
SEED = 2  # of weights with which rows end at different steps
BEAMS = {"num_beams": 4, "length_penalty": 1.0, "early_stopping": False, "num_return_sequences": 2, "eos_token_id": EOS}
SAMPLED = {"do_sample": True, "seed": 3, "num_return_sequences": 4}
CASES = {
    "greedy": {},
    "right": {},
    "beams": BEAMS,
    "ends": {"eos_token_id": EOS},
    "late ends": {"eos_token_id": EOS, "min_new_tokens": 8},
    "sampled": {**SAMPLED, "top_k": 0},
    "few": {**SAMPLED, "top_k": 2},
    "filtered": {**SAMPLED, "top_k": 0, "top_p": 0.5, "temperature": 2.0},
    "likely": {**SAMPLED, "top_k": 0, "min_p": 0.5},
}


def is_right(backend, folder, case):
    """Whether a backend gives transformers' ids or, where it draws, those of the loop on the host."""
    model, settings = backend.load(folder, Head.LM), CASES[case]
    mask = MASKS[case].astype(np.int64) if case in MASKS else None
    try:
        ids = model.generate(IDS, mask, **COMMON, **settings)
    except InputError:  # nothing could be chosen
        return False
    if settings.get("do_sample"):
        expected = model.generate(IDS, mask, output_scores=True, **COMMON, **settings)
    else:
        (expected,) = (
            x["ids"] for x in GOLDEN if (x["seed"], x["side"], x["settings"]) == (SEED, side(case), settings)
        )
    return np.shape(ids) == np.shape(expected) and bool(np.all(ids == np.asarray(expected)))


def side(case):
    return case if case in MASKS else None


@pytest.fixture
def folder(tmp_path):
    save_pretrained(tmp_path / "model", CONFIG, Head.LM, "float32", weights(SEED))
    return tmp_path / "model"


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_found(plant, unoptimised, name, folder):
    defect = DEFECTS[name]
    assert not is_right(plant(defect), folder, defect.case)


def test_a_faithful_copy_passes(plant, unoptimised, folder):
    copy = plant()
    assert [case for case in CASES if not is_right(copy, folder, case)] == []


def test_the_draws_are_made_on_the_device():
    assert not any(host_settings(settled(CONFIG, None, settings)) for settings in CASES.values() if "seed" in settings)
