"""The training loop and its checkpoints, with a trainer in NumPy: resume, early stop, divergence, a full disk."""

import errno
import json
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from gptcore.checkpoint import fresh_values
from gptcore.checkpoint.pretrained import open_pretrained
from gptcore.errors import CheckpointError, StorageError, TrainingError
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.training import Batches, Checkpoints, Evaluation, Interrupted, Run, read_log
from gptcore.training.steps import MOMENTS

CONFIG = OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2)
EXAMPLES = [{"input_ids": np.arange(i, i + 4), "labels": np.arange(i, i + 4)} for i in range(7)]


class NumPyTrainer:
    """Its loss depends on every bit of the state and on the batch."""

    config, head, is_main = CONFIG, Head.LM, True

    def __init__(self, nan_at=None):
        self.values = {name: array.copy() for name, array in fresh_values(CONFIG, Head.LM, "float32", 0)}
        self.adam = {f"{m}.{n}": np.zeros_like(a) for m in MOMENTS for n, a in self.values.items()}
        self.nan_at = nan_at

    def step(self, step, batch):
        for name, array in self.values.items():
            self.adam[f"exp_avg.{name}"] += np.float32(batch["input_ids"].mean() / 7) - array
            array += np.float32(0.01) * self.adam[f"exp_avg.{name}"]
        loss = float(sum(np.abs(array).sum(dtype=np.float64) for array in self.values.values()))
        norm = float("nan") if step == self.nan_at else 1.0
        return {"loss": loss, "grad_norm": norm, "learning_rate": 0.01}

    def weights(self):
        yield from self.values.items()

    def moments(self):
        yield from self.adam.items()

    def restore(self, step, weights, moments):
        self.values = {name: np.array(array) for name, array in weights}
        self.adam = {name: np.array(array) for name, array in moments}


def make(folder, trainer=None, settings=None, **options):
    batches = Batches(EXAMPLES, 2, seed=0)
    checkpoints = Checkpoints(folder, settings or {"seed": 0}, keep=options.pop("keep", 2))
    options = {"total_steps": 12, "save_every": 3, **options}
    return Run(trainer=trainer or NumPyTrainer(), batches=batches, checkpoints=checkpoints, **options)


def losses(folder):
    return [record["loss"] for record in read_log(folder / "log.jsonl")]


def test_resumed_is_uninterrupted(tmp_path):
    make(tmp_path / "whole")()
    for stop in range(1, 12):
        folder = tmp_path / str(stop)

        def die(record, stop=stop):
            if record["step"] == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            make(folder, listeners=[die])()
        with (folder / "log.jsonl").open("a") as file:
            file.write('{"step": 99, "lo')  # a line that was cut short
        make(folder)(resume=True)
        assert losses(folder) == losses(tmp_path / "whole")


def test_what_is_kept(tmp_path):
    scores = iter([1.0, 3.0, 2.0, 2.5, 0.5, 0.1])
    run = make(
        tmp_path, evaluate=lambda trainer: Evaluation({"score": 1.0}, next(scores)), evaluate_every=2, save_every=1
    )
    run()
    assert run.checkpoints.steps() == [4, 11, 12]  # the best, and the two newest
    assert (tmp_path / "best").resolve().name == "step-00000004"
    assert (tmp_path / "last").resolve().name == "step-00000012"
    assert not list(tmp_path.glob("*.partial"))


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def no_links(monkeypatch):
    def refuse(self, target, target_is_directory=False):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("pathlib.Path.symlink_to", refuse)


def test_without_links_there_are_copies_of_the_model(tmp_path, monkeypatch):
    no_links(monkeypatch)
    scores = iter([1.0, 3.0, 2.0, 2.5])
    options = {"evaluate": lambda trainer: Evaluation({}, next(scores)), "evaluate_every": 3}
    make(tmp_path, **options)()
    assert {path.name for path in (tmp_path / "last").iterdir()} == {"config.json", "model.safetensors"}
    assert open_pretrained(tmp_path / "last", Head.LM).config == open_pretrained(tmp_path, Head.LM).config
    assert content(tmp_path / "last") != content(tmp_path / "best")
    assert not list(tmp_path.glob("*.partial"))
    monkeypatch.undo()
    make(tmp_path, settings={"seed": 0}, total_steps=15)(resume=True)  # moved to where there are links
    assert (tmp_path / "last").resolve().name == "step-00000015"


def test_a_step_that_is_saved_again_is_never_half_there(tmp_path, monkeypatch):
    run = make(tmp_path)
    run()
    seen = []
    real = shutil.rmtree

    def rmtree(path, **options):
        seen.append((run.checkpoints.path(12) / "training.json").is_file())
        real(path, **options)

    monkeypatch.setattr("gptcore.training.checkpoints.shutil.rmtree", rmtree)
    run.checkpoints.save(12, run.trainer)
    assert all(seen)
    before = content(run.checkpoints.path(12))
    rename = Path.rename

    def failing(self, target):
        if Path(target) == run.checkpoints.path(12) and ".old" not in self.name:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr("pathlib.Path.rename", failing)
    with pytest.raises(StorageError, match=r"Input/output error. Earlier checkpoints are unchanged"):
        run.checkpoints.save(12, NumPyTrainer())
    monkeypatch.undo()
    assert content(run.checkpoints.path(12)) == before


def test_a_run_stands_for_its_last_checkpoint(tmp_path):
    make(tmp_path)()
    for place in (tmp_path, str(tmp_path)):
        assert OpenAIGPTConfig.from_pretrained(place).n_embd == CONFIG.n_embd
        name, values = next(open_pretrained(place, Head.LM).values())
        newest = dict(open_pretrained(tmp_path / "step-00000012", Head.LM).values())
        np.testing.assert_array_equal(values, newest[name])
    (tmp_path / "config.json").write_text((tmp_path / "step-00000009" / "config.json").read_text())
    with pytest.raises(CheckpointError):  # a model's own folder, whose weights are missing
        open_pretrained(tmp_path, Head.LM)


def test_early_stop(tmp_path):
    scores = iter([1.0, 2.0, 1.5, 1.6, 9.0, 9.0])
    options = {"evaluate": lambda trainer: Evaluation({}, next(scores)), "evaluate_every": 2, "patience": 2}
    assert make(tmp_path, **options)()["step"] == 7
    assert len(losses(tmp_path)) == 8
    assert make(tmp_path, **options)(resume=True) == {}  # it stays stopped


def test_divergence_keeps_the_last_good_checkpoint(tmp_path):
    message = r"grad_norm is nan at step 7.*last good checkpoint is .*step-00000006. Start a new run"
    with pytest.raises(TrainingError, match=message):
        make(tmp_path, NumPyTrainer(nan_at=7))()
    assert make(tmp_path).checkpoints.steps() == [3, 6]
    with pytest.raises(TrainingError, match="there is no checkpoint yet"):
        make(tmp_path / "early", NumPyTrainer(nan_at=1))()


def test_a_folder_with_a_run(tmp_path):
    make(tmp_path)()
    with pytest.raises(TrainingError, match=r"already holds a run. Pass resume=True, or choose another folder\.$"):
        make(tmp_path)()
    with pytest.raises(TrainingError, match=r"different settings or data.*\n  - seed was 0, now 1$"):
        make(tmp_path, settings={"seed": 1})(resume=True)
    assert len(losses(tmp_path)) == 12  # nothing was lost


def test_only_the_settings_that_differ_are_named(tmp_path):
    recipe = {"batch_size": 4, "betas": [0.9, 0.99], "extra": {}}
    make(tmp_path, settings={"recipe": recipe, "fingerprint": {"examples": "ab"}})()
    others = {"recipe": {**recipe, "batch_size": 8}, "fingerprint": {"examples": "cd"}}
    with pytest.raises(TrainingError) as caught:
        make(tmp_path, settings=others)(resume=True)
    named = ["  - fingerprint.examples was 'ab', now 'cd'", "  - recipe.batch_size was 4, now 8"]
    assert str(caught.value).splitlines()[1:] == named


def test_a_log_without_a_checkpoint_is_a_run(tmp_path):
    with pytest.raises(TrainingError):
        make(tmp_path, NumPyTrainer(nan_at=2))()
    with pytest.raises(TrainingError, match="already holds a run"):
        make(tmp_path)()
    assert len(losses(tmp_path)) == 2
    make(tmp_path)(resume=True)
    assert len(losses(tmp_path)) == 12


def sender(*at):
    """A listener that sends signals to this process: (step, signal) pairs."""

    def send(record):
        for step, number in at:
            if record["step"] == step:
                signal.raise_signal(number)

    return send


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", [0, 6, 11])
def test_a_signal_saves_what_is_done(number, step, tmp_path):
    make(tmp_path / "whole")()
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught:
        make(tmp_path / "run", save_every=None, listeners=[sender((step, number))])()
    assert (caught.value.signal, caught.value.step) == (number, step + 1)
    assert signal.getsignal(number) == before
    run = make(tmp_path / "run", save_every=None)
    assert run.checkpoints.steps() == [step + 1]
    run(resume=True)
    assert losses(tmp_path / "run") == losses(tmp_path / "whole")


def test_an_evaluation_that_is_due_comes_before_the_stop(tmp_path):
    options = {"evaluate": lambda trainer: Evaluation({"score": 1.0}, 1.0), "evaluate_every": 2, "save_every": None}
    with pytest.raises(Interrupted):
        make(tmp_path, listeners=[sender((3, signal.SIGINT))], **options)()
    assert [record["step"] for record in read_log(tmp_path / "log.jsonl") if "eval_score" in record] == [1, 3]


def test_a_second_signal_stops_at_once(tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught:
        make(tmp_path, listeners=[sender((4, signal.SIGINT), (4, signal.SIGINT))])()
    assert not isinstance(caught.value, Interrupted)
    assert make(tmp_path).checkpoints.steps() == [3]


def test_signals_that_are_not_held(tmp_path):
    """Several processes would stop at different updates; a handler of the program's own has its say."""
    several = NumPyTrainer()
    several.processes = 2
    with pytest.raises(KeyboardInterrupt) as caught:
        make(tmp_path / "several", several, listeners=[sender((4, signal.SIGINT))])()
    assert not isinstance(caught.value, Interrupted)
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        make(tmp_path / "own", listeners=[sender((4, signal.SIGTERM))])()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]
    thread = threading.Thread(target=make(tmp_path / "thread"))
    thread.start()
    thread.join()
    assert [len(losses(tmp_path / name)) for name in ("own", "thread")] == [12, 12]


def test_a_full_disk(tmp_path, monkeypatch):
    run = make(tmp_path)
    real = np.ascontiguousarray

    def full(array, dtype=None):
        if run.checkpoints.steps():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(array, dtype)

    monkeypatch.setattr("gptcore.checkpoint.tensors.np.ascontiguousarray", full)
    with pytest.raises(StorageError, match="No space left on device"):
        run()
    monkeypatch.undo()
    assert run.checkpoints.steps() == [3]
    assert not list(tmp_path.glob("*.partial"))
    make(tmp_path)(resume=True)
    make(tmp_path / "whole")()
    assert losses(tmp_path) == losses(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["training.json", "optimizer.safetensors", "model.safetensors"])
def test_a_damaged_checkpoint(damage, tmp_path):
    make(tmp_path)()
    path = (tmp_path / "last").resolve() / damage
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(CheckpointError):
        make(tmp_path)(resume=True)


def test_a_checkpoint_is_a_model_folder(tmp_path):
    make(tmp_path)()
    config = json.loads((tmp_path / "last" / "config.json").read_text())
    assert config["architectures"] == ["OpenAIGPTLMHeadModel"]


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of the GNU C library")
@pytest.mark.parametrize("kept", [False, True])
def test_freed_memory_is_kept(kept):
    """100 MB, ten times: the system gives its pages each time anew, or only once."""
    program = (
        "import resource; import numpy as np; from gptcore.training import keep_freed_memory\n"
        f"{'keep_freed_memory()' * kept}\nnp.ones(25_000_000, np.float32)\n"
        "count = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "first = count()\n"
        "for _ in range(10): np.ones(25_000_000, np.float32)\n"
        "print(count() - first)"
    )
    options = {"capture_output": True, "text": True, "check": True}
    found = int(subprocess.run([sys.executable, "-c", program], **options).stdout)
    assert found < 100 if kept else found > 300  # 500 pages of 2 MiB, or more smaller ones
