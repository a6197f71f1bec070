"""Ids are those that transformers 4.57.6 generates, as ``make_golden_ids.py`` wrote them down."""

import json
from pathlib import Path

import numpy as np
import pytest
from generation_data import BEAMS, COMMON, CONFIG, GREEDY, IDS, MASKS, SEEDS, weights

from gptcore.checkpoint import save_pretrained
from gptcore.spec.parameters import Head

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())


def test_the_golden_file_holds_all_models_and_settings():
    ways = [*((side, {}) for side in MASKS), *((None, settings) for settings in (*GREEDY, *BEAMS))]
    assert [(x["seed"], x["side"], x["settings"]) for x in GOLDEN] == [(seed, *way) for seed in SEEDS for way in ways]


@pytest.mark.parametrize("seed", SEEDS)
def test_ids_are_those_of_transformers(backend, tmp_path, seed):
    """PyTorch takes every setting with every model, the others each with one: the loop on the host is shared."""
    save_pretrained(tmp_path, CONFIG, Head.LM, "float32", weights(seed))
    model = backend.load(tmp_path, Head.LM)
    items = [item for item in GOLDEN if item["seed"] == seed]
    for item in items if backend.name == "torch" else items[seed :: len(SEEDS)]:
        mask = None if item["side"] is None else MASKS[item["side"]].astype(np.int64)
        ids = model.generate(IDS, mask, **COMMON, **item["settings"])
        np.testing.assert_array_equal(ids, item["ids"], err_msg=str(item["settings"]))
