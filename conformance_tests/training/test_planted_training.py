"""What tests training is tested itself: planted defects must turn it red, and a copy without one must not."""

import functools
from pathlib import Path

import numpy as np
import pytest
from defects import read_defects
from training_data import (
    DROPOUT,
    HEADS,
    RECIPE,
    STILL,
    config,
    lm_batches,
    ragged,
    reference_run,
    task_batches,
    trainer_of,
)

from gptcore.spec.parameters import Head

DEFECTS = read_defects(Path(__file__).parent)
STEPS = 8
# Far from the defaults, so that the share of each number is seen.
STRICT = RECIPE.replace(learning_rate=3e-3, weight_decay=0.5, adam_beta2=0.9, adam_epsilon=1e-3)


@functools.cache
def truth(task):
    settings, batches = (config(), lm_batches()) if task == "lm" else task_batches(task)
    return reference_run(settings, HEADS[task], STRICT, batches, STEPS)[0]


def close(found, expected):
    return np.allclose(found, expected, rtol=1e-4, atol=0)


def curve_is_right(task, backend, make_checkpoint):
    """The losses of each step are those of AdamW in float64."""
    settings, batches = (config(), lm_batches()) if task == "lm" else task_batches(task)
    trainer = trainer_of(backend, make_checkpoint(settings, HEADS[task]), HEADS[task], STRICT, STEPS)
    found = [trainer.step(step, batches[step]) for step in range(STEPS)]
    return all(close([r[name] for r in found], [r[name] for r in truth(task)]) for name in truth(task)[0])


def parts_are_right(backend, make_checkpoint):
    """Rows of unequal length give what they give at once."""
    found = []
    for size in (None, 2):
        recipe = RECIPE.replace(micro_batch_size=size)
        trainer = trainer_of(backend, make_checkpoint(config(), Head.LM), Head.LM, recipe, 2)
        found.append(trainer.step(0, ragged(lm_batches()[0])))
    return all(close(found[0][name], found[1][name]) for name in ("loss", "grad_norm"))


def similarity_is_right(backend, make_checkpoint):
    """The order of the texts does not matter."""
    settings, batches = task_batches("similarity")
    trainer = trainer_of(
        backend, make_checkpoint(settings, Head.SEQUENCE_CLASSIFICATION), HEADS["similarity"], RECIPE, 1
    )
    batch = batches[0]
    swapped = {name: array[:, ::-1].copy() if array.ndim > 1 else array for name, array in batch.items()}
    return np.allclose(trainer.evaluate(batch)["logits"], trainer.evaluate(swapped)["logits"], atol=1e-5)


def dropout_is_right(backend, make_checkpoint):
    """Another one in each step and for each seed; none in evaluation."""
    batch, folder = lm_batches()[0], make_checkpoint(config(**DROPOUT), Head.LM)
    trainer, other = (trainer_of(backend, folder, Head.LM, STILL.replace(seed=seed), STEPS) for seed in (1, 2))
    # Several times: Keras draws its first seeds at random, and the loss of one mask may be close by chance.
    evaluated = [float(trainer.evaluate(batch)["lm_loss"]) for _ in range(4)]
    losses = [trainer.step(0, batch)["loss"], trainer.step(1, batch)["loss"], other.step(0, batch)["loss"]]
    return close(evaluated, truth("lm")[0]["lm_loss"]) and len({*losses, evaluated[0]}) == 4


def resume_is_right(backend, make_checkpoint):
    """A run goes on in another trainer as if nothing had happened."""
    folder, batches = make_checkpoint(config(), Head.LM), lm_batches()
    trainer = trainer_of(backend, folder, Head.LM, RECIPE, STEPS)
    for step in range(STEPS // 2):
        trainer.step(step, batches[step])
    resumed = trainer_of(backend, folder, Head.LM, RECIPE, STEPS)
    resumed.restore(STEPS // 2, trainer.weights(), trainer.moments())
    return all(
        trainer.step(step, batches[step]) == resumed.step(step, batches[step]) for step in range(STEPS // 2, STEPS)
    )


def moments_are_right(backend, make_checkpoint):
    """After one step, both tell the same gradient."""
    trainer = trainer_of(backend, make_checkpoint(config(), Head.LM), Head.LM, RECIPE, STEPS)
    trainer.step(0, lm_batches()[0])
    moments = dict(trainer.moments())
    (name,) = (name for name in moments if name.endswith("exp_avg.h.0.mlp.c_fc.weight"))
    gradient = moments[name] / (1 - RECIPE.adam_beta1)
    second = moments[name.replace("exp_avg.", "exp_avg_sq.")] / (1 - RECIPE.adam_beta2)
    return np.allclose(second, gradient**2, rtol=1e-3)


CASES = {
    "lm": functools.partial(curve_is_right, "lm"),
    "classify": functools.partial(curve_is_right, "classify"),
    "choice": functools.partial(curve_is_right, "choice"),
    "parts": parts_are_right,
    "similarity": similarity_is_right,
    "dropout": dropout_is_right,
    "resume": resume_is_right,
    "moments": moments_are_right,
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_found(plant, unoptimised, name, make_checkpoint):
    defect = DEFECTS[name]
    assert not CASES[defect.case](plant(defect), make_checkpoint)


@pytest.mark.parametrize("case", CASES)
def test_a_faithful_copy_passes(plant, unoptimised, case, make_checkpoint):
    assert CASES[case](plant(), make_checkpoint)
