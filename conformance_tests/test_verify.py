"""``gptcore verify`` as its users run it, and that it can fail."""

import json
import re
import sys
from pathlib import Path

import find_the_bug
import numpy as np
import pytest
from checkpoint_data import save
from defects import planted, read_defects
from ladder import CASES

from gptcore import DEFAULT_MODEL
from gptcore.backends import CAPABILITIES, load_backend
from gptcore.errors import CheckpointError, GPTError
from gptcore.pipelines import pipeline
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.verify import verify

DEFECTS = read_defects(Path(__file__).parent)
CONFIG = OpenAIGPTConfig(vocab_size=41, n_positions=13, n_embd=14, n_head=2, n_layer=1)


class Distorted:
    """A backend that is off by a factor in its outputs and gradients."""

    def __init__(self, name, outputs=1.0, gradients=1.0):
        self.backend, self.name = load_backend(name), f"distorted {name}"
        self.outputs, self.gradients, self.capabilities = outputs, gradients, self.backend.capabilities

    def versions(self):
        return self.backend.versions()

    def load(self, *arguments, **options):
        self.model = self.backend.load(*arguments, **options)
        return self

    def forward(self, inputs, **options):
        outputs = self.model.forward(inputs, **options)
        return {name: value if name == "hidden_states" else value * self.outputs for name, value in outputs.items()}

    def loss_and_gradients(self, inputs):
        losses, gradients = self.model.loss_and_gradients(inputs)
        return losses, {name: value * self.gradients for name, value in gradients.items()}


def test_the_default_model(run):
    """No argument, no network: everything that is installed takes part, and the table is JSON on request."""
    status, out, error = run("verify", "--json")
    assert status == 0, error
    report = json.loads(out)
    assert report["passed"] is True
    names = [backend["name"] for backend in report["backends"]]
    assert names == ["torch", "tf", "flax"]
    assert set(report["pairwise"]) == {"torch-tf", "torch-flax", "tf-flax"}
    for backend in report["backends"]:
        assert backend["versions"]
        assert backend["seconds"] > 0
        assert set(backend["errors"]) == {"logits", "loss", "gradients"}
        for error in backend["errors"].values():
            assert 0 <= error["scaled"] <= error["tolerance"]
            assert error["typical"] <= error["largest"]


def test_the_table(run):
    status, out, _ = run("verify", "--backend", "torch", "--length", 5)
    assert status == 0
    for words in (
        "bundled model: 6,901,248 parameters",
        "2 x 5 tokens",
        "torch",
        "logits",
        "gradients",
        "all differences are within tolerance",
    ):
        assert words in out


def test_a_pickle_has_to_be_allowed(run, tmp_path):
    save(tmp_path, Head.LM, form="pytorch")
    assert run("verify", tmp_path, "--backend", "torch")[0] == 2
    assert run("verify", tmp_path, "--backend", "torch", "--allow-pickle")[0] == 0


@pytest.mark.parametrize(("quantity", "where"), [("outputs", "head"), ("gradients", "gradient of h.5.ln_2.bias")])
def test_a_broken_tolerance_is_exit_status_1(run, monkeypatch, quantity, where):
    broken = Distorted("torch", **{quantity: 1.0001})
    monkeypatch.setattr("gptcore.cli.verify.load_backends", lambda names: [broken])
    status, out, _ = run("verify", "--length", 5)
    assert status == 1
    assert f"a tolerance is exceeded\ndistorted torch: first difference: {where}\n" in out
    status, out, _ = run("verify", "--length", 5, "--json")
    assert status == 1
    report = json.loads(out)
    assert (report["passed"], report["backends"][0]["first_difference"]) == (False, where)


EXERCISES = {defect.exercise: defect for defect in DEFECTS.values() if defect.exercise}


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_layer_of_a_planted_defect_is_named(exercise, tmp_path):
    defect = EXERCISES[exercise]
    backend = planted("torch", defect.changes["torch"], tmp_path)
    report = verify(CASES / defect.case, [backend], length=7)
    assert (report.passed, report.backends[0].first_difference) == (False, defect.first_difference)


def test_the_page_has_all_exercises():
    page = (Path(__file__).parents[1] / "docs/learn/find-the-bug.md").read_text()
    assert [int(number) for number in re.findall(r"^```\{exercise\} (\d+)$", page, re.MULTILINE)] == list(range(1, 13))
    assert set(EXERCISES) == set(range(1, 13))


def test_a_defect_of_a_later_layer_is_found_there(tmp_path):
    change = [
        "modeling",
        "hidden_states, probabilities = block(*arguments)",
        "hidden_states, probabilities = block(hidden_states * (1 + 0.1 * layer), *arguments[1:])",
    ]
    report = verify(DEFAULT_MODEL, [planted("torch", change, tmp_path)], length=5, gradients=False)
    assert report.backends[0].first_difference == "attention of block 1"


def test_a_copy_for_an_exercise_is_a_backend(run, tmp_path, monkeypatch):
    """As a learner writes and grades it, and mends it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["find_the_bug.py", "7"])
    find_the_bug.main()
    command = ("verify", CASES / EXERCISES[7].case, "--length", 7, "--backend", "bug_7", "--backend", "torch")
    status, out, _ = run(*command)
    assert status == 1
    assert "bug_7: first difference: loss\n" in out
    with pytest.raises(SystemExit):
        find_the_bug.main()  # the copy of the learner is kept


def test_two_backends_that_are_apart_are_found():
    """Each within the tolerance of the reference, on opposite sides: only the pair shows it."""
    expected = verify(DEFAULT_MODEL, [load_backend("torch")], length=5, gradients=False)
    tolerance = expected.backends[0].errors[0].tolerance
    sides = [Distorted("torch", outputs=1 + sign * 0.8 * tolerance) for sign in (-1, 1)]
    sides[1].name += " again"
    report = verify(DEFAULT_MODEL, sides, length=5, gradients=False)
    assert all(error.passed for backend in report.backends for error in backend.errors)
    assert not report.passed


def test_values_that_are_no_numbers_never_pass():
    report = verify(DEFAULT_MODEL, [Distorted("torch", outputs=np.nan)], length=5, gradients=False)
    assert not report.passed


def test_nobody_taking_part_is_not_a_pass():
    assert not verify(DEFAULT_MODEL, []).passed


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_other_types(backend, make_checkpoint, dtype):
    report = verify(make_checkpoint(CONFIG, Head.LM, "float32"), [backend], dtype=dtype, batch=3)
    assert report.passed
    assert report.shape == (3, 13)


def test_errors_of_the_user_are_one_message_and_status_2(run, tmp_path):
    for arguments, message in (
        ((tmp_path / "nowhere",), "nowhere"),
        (("--backend", "mxnet"), "backend must be one of torch, tf, flax; got 'mxnet'"),
        (("--dtype", "int8"), "int8"),
        (("--length", 257), "the sequence must have 1 to n_positions=256 tokens; got 257"),
    ):
        status, out, err = run("verify", *arguments)
        assert (status, out) == (2, ""), arguments
        assert message in err.replace("\n", " ")
        assert "Traceback" not in err


def test_a_checkpoint_without_weights_is_an_error(tmp_path):
    CONFIG.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"has no weights: expected one of model\.safetensors, "):
        verify(tmp_path, [])


def test_the_documentation_lists_all_capabilities():
    page = (Path(__file__).parents[1] / "docs/verified/backends.md").read_text()
    assert [line for line in page.splitlines() if line.startswith("| `")] == [
        f"| `{name}` | {methods} |" for name, methods in CAPABILITIES.items()
    ]


@pytest.fixture
def somebody_elses(monkeypatch, tmp_path):
    """An installed distribution whose backend is ``reference_backend.py``."""
    metadata = tmp_path / "somebody_elses-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody-elses\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[gptcore.backends]\nreference = reference_backend:BACKEND\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_a_backend_of_somebody_else(run, somebody_elses, tmp_path):
    """It is graded in what it claims, and named in what it does not."""
    save(tmp_path / "checkpoint", Head.LM)
    command = ("verify", tmp_path / "checkpoint", "--backend", "reference")
    status, out, error = run(*command, "--backend", "torch")
    assert status == 0, error
    assert "reference does not claim to compute: loss, gradients\n" in out
    report = json.loads(run(*command, "--json")[1])["backends"][0]
    assert (list(report["errors"]), report["not_claimed"]) == (["logits"], ["loss", "gradients"])
    status, _, error = run("generate", "the cat", "--backend", "reference")
    expected = "backend 'reference' does not support 'generate' (BackendModel.generate)."
    assert (status, error) == (2, f"error: {expected}\n")
    with pytest.raises(GPTError, match=re.escape(expected)):
        pipeline(backend="reference")
    (score,) = pipeline("score", backend="reference")(["the cat"])
    assert score["tokens"] > 0
