"""Steps of training: each framework against AdamW in float64 over the reference's gradients, and against the others."""

import functools

import numpy as np
import pytest
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

from gptcore.checkpoint import open_pretrained
from gptcore.errors import ConfigError, InputError, TrainingError
from gptcore.spec.parameters import Head
from gptcore.spec.recipe import Recipe
from gptcore.spec.tolerances import TOLERANCES, gradient_errors
from gptcore.training import dropout_seed, rows_of_process
from gptcore.training.examples import label_settings
from gptcore.training.steps import check_batch

STEPS = 50
LOSS_TOLERANCE = 1e-4  # relative, at every step
WEIGHT_TOLERANCE = 1e-3  # relative, over all weights of a tensor


def run(backend, checkpoint, head, recipe, batches, steps):
    """The results of each step, and the trainer."""
    trainer = trainer_of(backend, checkpoint, head, recipe, steps)
    return [trainer.step(step, batches[step]) for step in range(steps)], trainer


def relative(actual, expected):
    """The norm of the difference, relative to that of what is expected."""
    return np.linalg.norm(actual - expected) / np.linalg.norm(expected)


# A key bias shifts all scores of a query alike: its gradient is rounding noise, which Adam scales up to full steps.
def without_key_bias(name, array, width):
    return np.delete(array, slice(width, 2 * width)) if name.endswith("c_attn.bias") else array


@pytest.fixture(scope="module")
def lm_truth():
    return reference_run(config(n_layer=2), Head.LM, RECIPE, lm_batches(), STEPS)


def test_fifty_steps_on_real_text(backend, make_checkpoint, lm_truth):
    curve, weights = lm_truth
    checkpoint = make_checkpoint(config(n_layer=2).replace(return_dict=False), Head.LM)
    found, trainer = run(backend, checkpoint, Head.LM, RECIPE, lm_batches(), STEPS)
    np.testing.assert_allclose([r["lm_loss"] for r in found], [r["lm_loss"] for r in curve], rtol=LOSS_TOLERANCE)
    assert curve[-1]["lm_loss"] < 0.75 * curve[0]["lm_loss"]  # it learns, so that there is something to compare
    for name, array in trainer.weights():
        actual, expected = (without_key_bias(name, x, trainer.config.n_embd) for x in (array, weights[name]))
        assert relative(actual, expected) < WEIGHT_TOLERANCE, name
    np.testing.assert_allclose([r["learning_rate"] for r in found], RECIPE.learning_rates(STEPS))


@pytest.mark.parametrize("task", ["classify", "entail", "choice"])
def test_tasks_follow_the_reference(backend, task, make_checkpoint):
    settings, batches = task_batches(task)
    curve, _ = reference_run(settings, HEADS[task], RECIPE, batches, 8)
    checkpoint = make_checkpoint(settings.replace(return_dict=False), HEADS[task])  # which is for calls of the user
    found, _ = run(backend, checkpoint, HEADS[task], RECIPE, batches, 8)
    for name in ("lm_loss", "task_loss"):
        np.testing.assert_allclose([r[name] for r in found], [r[name] for r in curve], rtol=LOSS_TOLERANCE)
    np.testing.assert_allclose(
        [r["loss"] for r in found], [r["task_loss"] + 0.5 * r["lm_loss"] for r in found], rtol=1e-6
    )


def test_similarity_does_not_depend_on_the_order(backend, make_checkpoint):
    settings, batches = task_batches("similarity")
    checkpoint = make_checkpoint(settings, HEADS["similarity"])
    batch = batches[0]
    swapped = {name: array[:, ::-1].copy() if array.ndim > 1 else array for name, array in batch.items()}
    trainer = trainer_of(backend, checkpoint, HEADS["similarity"], RECIPE, 1)
    np.testing.assert_allclose(
        trainer.evaluate(batch)["logits"], trainer.evaluate(swapped)["logits"], rtol=1e-5, atol=1e-5
    )


def test_similarity_is_the_same_in_all(backends, make_checkpoint):
    settings, batches = task_batches("similarity")
    checkpoint = make_checkpoint(settings, HEADS["similarity"])
    curves = [run(b, checkpoint, HEADS["similarity"], RECIPE, batches, 8)[0] for b in backends]
    for curve in curves:
        for name in ("lm_loss", "task_loss", "grad_norm"):
            np.testing.assert_allclose([r[name] for r in curve], [r[name] for r in curves[0]], rtol=LOSS_TOLERANCE)


@pytest.mark.parametrize("task", ["lm", "classify", "choice", "similarity"])
def test_parts_of_a_batch_add_up_to_it(backend, task, make_checkpoint):
    """Rows of unequal length, so that a mean of means would be another number."""
    settings, batches = (config(), lm_batches()) if task == "lm" else task_batches(task)
    batch = batches[0]
    if task == "lm":
        batch = ragged(batch)
    checkpoint = make_checkpoint(settings, HEADS[task])
    results, moments = [], []
    for size in (None, 3, 1) if task == "lm" else (None, 2):
        trainer = trainer_of(backend, checkpoint, HEADS[task], RECIPE.replace(micro_batch_size=size), 2)
        results.append([trainer.step(step, batch) for step in range(2)])
        moments.append(dict(trainer.moments()))
    for parts, found in zip(results[1:], moments[1:], strict=True):
        for whole_step, step in zip(results[0], parts, strict=True):
            assert step == pytest.approx(whole_step, rel=2e-6)
        assert max(gradient_errors(found, moments[0]).values()) < 2 * TOLERANCES["float32", "gradients"]


def test_nothing_to_predict_changes_nothing_but_decay(backend, make_checkpoint):
    batch = {**lm_batches()[0], "labels": np.full((6, 16), -100, np.int32)}
    trainer = trainer_of(backend, make_checkpoint(config(), Head.LM), Head.LM, RECIPE.replace(warmup_steps=0), 1)
    before = {name: array.copy() for name, array in trainer.weights()}
    result = trainer.step(0, batch)
    assert result["loss"] == result["grad_norm"] == 0
    for name, array in trainer.weights():
        decay = 1 - RECIPE.learning_rate * RECIPE.weight_decay if array.ndim > 1 else 1
        np.testing.assert_allclose(array, before[name] * decay, rtol=1e-6)


def test_dropout_comes_from_the_step_alone(backend, make_checkpoint):
    """The same step draws the same dropout whatever was run before; another step or seed another one."""
    checkpoint = make_checkpoint(config(**DROPOUT), Head.LM)
    batch = lm_batches()[0]
    trainer, other = (trainer_of(backend, checkpoint, Head.LM, STILL.replace(seed=seed), 2000) for seed in (3, 4))
    first = trainer.step(0, batch)["loss"]
    assert trainer.step(7, batch)["loss"] != first
    assert trainer.evaluate(batch)["lm_loss"] == trainer.evaluate(batch)["lm_loss"]
    assert trainer.step(0, batch)["loss"] == trainer.step(0, batch)["loss"] == first
    assert other.step(0, batch)["loss"] != first


def test_dropout_has_the_same_effect_in_all(backends, make_checkpoint):
    """Mean loss under dropout, over seeds, of the same weights: within four standard errors of each other."""
    checkpoint = make_checkpoint(config(**DROPOUT), Head.LM)
    batch = lm_batches()[0]
    trainers = [trainer_of(backend, checkpoint, Head.LM, STILL, 2000) for backend in backends]
    drawn = [[trainer.step(step, batch)["loss"] for step in range(40)] for trainer in trainers]
    means = np.mean(drawn, 1)
    error = np.std(drawn, 1).max() / np.sqrt(40)
    without = trainers[0].evaluate(batch)["lm_loss"]
    assert np.ptp(means) < 4 * np.sqrt(2) * error
    assert abs(means.mean() - without) > 2 * error  # and there is an effect


def test_bfloat16_learns_as_float32_does(backend, make_checkpoint):
    checkpoint = make_checkpoint(config(), Head.LM)
    wide, narrow = (
        [r["loss"] for r in run(backend, checkpoint, Head.LM, recipe, lm_batches(), 20)[0]]
        for recipe in (RECIPE, RECIPE.replace(precision="bfloat16"))
    )
    assert wide != narrow
    np.testing.assert_allclose(narrow, wide, rtol=0.03)  # bfloat16 keeps 8 bits: 0.4 % a rounding


def test_a_run_goes_on_in_another_framework(backends, make_checkpoint):
    """Also in the one that began, and in a trainer that has gone on with another run before."""
    checkpoint = make_checkpoint(config(), Head.LM)
    batches = lm_batches()
    states, wholes = [], []
    for backend in backends:
        trainer = trainer_of(backend, checkpoint, Head.LM, RECIPE, 12)
        for step in range(6):
            trainer.step(step, batches[step])
        states.append([[(n, np.array(x)) for n, x in found] for found in (trainer.weights(), trainer.moments())])
        wholes.append([trainer.step(step, batches[step])["loss"] for step in range(6, 12)])
    for backend in backends:
        trainer = trainer_of(backend, checkpoint, Head.LM, RECIPE, 12)
        for state in states:
            trainer.restore(6, *state)
            found = [trainer.step(step, batches[step])["loss"] for step in range(6, 12)]
            np.testing.assert_allclose(found, wholes[0], rtol=LOSS_TOLERANCE)


def test_the_model_that_was_passed_is_the_one_that_is_trained(backend, make_checkpoint):
    trainer = trainer_of(backend, make_checkpoint(config(), Head.LM), Head.LM, RECIPE, 2)
    trainer.step(0, lm_batches()[0])
    trainer.step(1, lm_batches()[1])
    module = __import__(type(trainer.model).__module__.split(".")[0] + ".weights", fromlist=["export"])
    exported = dict(module.export(trainer.model))
    for name, array in trainer.weights():
        assert np.array_equal(array, exported[name]), name
    module.assign(trainer.model, [(name, np.zeros_like(array)) for name, array in exported.items()])
    loss = trainer.step(1, lm_batches()[1])["loss"]
    assert loss == pytest.approx(np.log(trainer.config.vocab_size), rel=1e-5)  # of equal logits


@pytest.mark.parametrize(("labels", "is_fresh"), [("ab", False), ("ba", True), ("xyz", True)])
def test_training_for_other_labels_begins_with_a_fresh_head(backend, make_checkpoint, labels, is_fresh):
    head = Head.SEQUENCE_CLASSIFICATION
    folder = make_checkpoint(config(**label_settings("classify", "ab")), head)
    wanted = {"num_labels": len(labels), "id2label": dict(enumerate(labels))}
    trainer = trainer_of(backend, folder, head, RECIPE, 1, **wanted)
    stored = dict(open_pretrained(folder, head).values())["score.weight"]
    begun = dict(trainer.weights())["score.weight"]
    assert begun.shape[0] == len(labels)
    assert np.array_equal(stored, begun) != is_fresh
    assert dict(trainer.config.id2label) == dict(enumerate(labels))


def test_what_cannot_be_trained(backend, make_checkpoint):
    with pytest.raises(ConfigError, match="cannot train OpenAIGPTModel: it has no loss"):
        trainer_of(backend, make_checkpoint(config(), Head.NONE), Head.NONE, RECIPE, 1)
    model = backend.load(make_checkpoint(config(), Head.LM), Head.LM, dtype="bfloat16").model
    module = __import__(type(model).__module__.split(".")[0] + ".training", fromlist=["Trainer"])
    with pytest.raises(ConfigError, match="weights must be float32 for training; got bfloat16"):
        module.Trainer(model, RECIPE, 1)
    model = backend.load(make_checkpoint(config(), Head.LM), Head.LM).model
    trainer, batch = module.Trainer(model, RECIPE, 1), lm_batches()[0]
    for name in ("input_ids", "labels"):
        for run in (trainer.evaluate, functools.partial(trainer.step, 0)):
            with pytest.raises(InputError, match=f"{name}.* must be .*vocab_size="):
                run({**batch, name: batch[name] + model.config.vocab_size})
    for change, message in (
        ({"attention_mask": batch["labels"]}, r"must hold input_ids, labels; got .* Pad on the right"),
        ({"targets": batch["labels"]}, "must hold input_ids, labels; got input_ids, labels, targets"),
        ({"labels": None}, "must hold input_ids, labels; got"),
    ):
        with pytest.raises(InputError, match=message):
            trainer.step(0, {**batch, **change})
    model.more = type(model)(model.config.replace(n_layer=1))
    with pytest.raises(ConfigError, match=r"cannot train .*: a checkpoint has no place for it\. Train it in a loop"):
        module.Trainer(model, RECIPE, 1)


@pytest.mark.parametrize("task", ["classify", "choice"])
def test_batches_of_a_task_that_do_not_fit(task):
    settings, batches = task_batches(task)
    head, batch = HEADS[task], batches[0]
    checked = check_batch(settings, head, {name: array.tolist() for name, array in batch.items()})
    assert all(np.array_equal(checked[name], array) for name, array in batch.items())
    length = batch["input_ids"].shape[-1]
    for change, message in (
        ({"extract_positions": batch["extract_positions"] + length}, r"extract_positions\[.* \(the sequence length="),
        ({"targets": batch["targets"] + 9}, r"targets\[.* must be 0 to .*; got "),
        ({"targets": batch["targets"][1:]}, "targets must have shape .*; got"),
        ({"targets": None}, "a batch must hold input_ids, labels, extract_positions, targets; got"),
    ):
        with pytest.raises(InputError, match=message):
            check_batch(settings, head, {**batch, **change})


def test_seeds_and_rows():
    assert (
        len(
            {dropout_seed(seed, step, part, p) for seed in (0, 1) for step in (0, 1) for part in (0, 1) for p in (0, 1)}
        )
        == 16
    )
    with pytest.raises(TrainingError, match="batch_size must be a multiple of the 2 processes; got 5 rows"):
        rows_of_process(5, 0, 2)
    assert Recipe().batch_size == 64
