"""The training loop, written once over ``Trainer``: log, evaluation, checkpoints, early stop, signals, resume."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from gptcore.backends.training import Trainer
from gptcore.errors import CheckpointError, TrainingError
from gptcore.storage.atomic import atomic_write
from gptcore.training.batches import Batches
from gptcore.training.checkpoints import STATE_NAME, Checkpoints

LOG_NAME = "log.jsonl"

Record = dict[str, Any]


class Interrupted(KeyboardInterrupt):
    """A signal stopped a run, after it had saved all its updates.

    Attributes:
        signal: SIGINT or SIGTERM.
        step: how many updates are done.
        path: the checkpoint that holds them.
    """

    def __init__(self, number: int, step: int, path: Path) -> None:
        super().__init__(f"stopped after {step:,} updates, saved in {path}")
        self.signal, self.step, self.path = number, step, path


@dataclass(frozen=True)
class Evaluation:
    """What one evaluation found.

    Attributes:
        metrics: by name, for the log.
        score: what decides which checkpoint is the best; larger is better.
        outputs: of the head of a task, (examples, classes) or, for scores, (examples, 1).
        targets: of a task, (examples,).
        count: how many examples of a task, or tokens of a corpus.
    """

    metrics: Mapping[str, float]
    score: float
    outputs: NDArray[Any] | None = field(default=None, compare=False, repr=False)
    targets: NDArray[Any] | None = field(default=None, compare=False, repr=False)
    count: int = field(default=0, compare=False)


@dataclass(kw_only=True)
class Run:
    """One run of training, in a folder.

    Args:
        trainer: of a backend.
        batches: what each step trains on.
        total_steps: how many updates.
        checkpoints: where they go, and what the run is started with.
        evaluate: finds out how good the model is; ``None`` for not at all.
        evaluate_every: updates between evaluations; there is one at the end, too. ``None``: only that.
        save_every: updates between checkpoints; there is one at the end, too. ``None``: only that.
        patience: evaluations without a better score after which to stop; ``None`` to go on.
        listeners: called with each record of the log.
    """

    trainer: Trainer
    batches: Batches
    total_steps: int
    checkpoints: Checkpoints
    evaluate: Callable[[Trainer], Evaluation] | None = None
    evaluate_every: int | None = None
    save_every: int | None = None
    patience: int | None = None
    listeners: list[Callable[[Record], Any]] = field(default_factory=list)

    def __call__(self, *, resume: bool = False) -> Record:
        """Train to the end; returns the last record of the log.

        Args:
            resume: go on from the newest checkpoint; without one, begin. The losses are those of a run that was never
                interrupted, bit for bit.

        Raises:
            TrainingError: the loss or the gradient is not finite (the checkpoints are as they were), or the folder has
                a run and ``resume`` is not set.
            CheckpointError: the disk is full; earlier checkpoints are untouched.
            Interrupted: a ``KeyboardInterrupt``, after the first Ctrl-C or SIGTERM: the current update is finished and
                saved. A second signal acts at once. Only in the main thread of a program that leaves these signals
                to Python, and where one process trains: several would stop at different updates.
        """
        step, best, waited = self._begin(resume)
        record: Record = {}
        with held_signals(getattr(self.trainer, "processes", 1) == 1) as received:
            while step < self.total_steps and not self._out_of_patience(waited):
                record = self._step(step)
                step += 1
                last = step == self.total_steps
                improved = False
                if self.evaluate and (last or due(step, self.evaluate_every)):
                    evaluation = self.evaluate(self.trainer)
                    record |= {f"eval_{name}": value for name, value in evaluation.metrics.items()}
                    improved = evaluation.score > best
                    best, waited = (evaluation.score, 0) if improved else (best, waited + 1)
                self._log(record)
                stop = list(received)
                if last or improved or stop or due(step, self.save_every) or self._out_of_patience(waited):
                    progress = {"best": best if math.isfinite(best) else None, "waited": waited}
                    path = self.checkpoints.save(step, self.trainer, best=improved, progress=progress)
                if stop:
                    raise Interrupted(stop[0], step, path)
        return record

    def _begin(self, resume: bool) -> tuple[int, float, int]:
        """The step to start with, the best score so far, and the evaluations since."""
        if not resume and has_run(self.checkpoints.folder):
            raise TrainingError(
                f"{self.checkpoints.folder} already holds a run. Pass resume=True, or choose another folder."
            )
        if not self.checkpoints.steps():
            self._cut_log(0)
            return 0, -math.inf, 0
        step, progress = self.checkpoints.restore(self.trainer)
        self._cut_log(step)
        best = progress.get("best")
        return step, -math.inf if best is None else best, progress.get("waited", 0)

    def _step(self, step: int) -> Record:
        batch = self.batches[step]
        start = time.perf_counter()
        results = self.trainer.step(step, batch)
        seconds = time.perf_counter() - start
        for name in ("loss", "grad_norm"):
            if not math.isfinite(results[name]):
                raise TrainingError(
                    f"the run diverged: {name} is {results[name]} at step {step}, with a learning rate of "
                    f"{results['learning_rate']:.3g}; {self.kept()}. Lower learning_rate, or lengthen the warm-up."
                )
        return {"step": step, **results, "tokens_per_second": batch["input_ids"].size / seconds}

    def kept(self) -> str:
        """The checkpoint that a run can resume from if it stops now, as text."""
        steps = self.checkpoints.steps()
        return (
            f"the last good checkpoint is {self.checkpoints.path(steps[-1])}" if steps else "there is no checkpoint yet"
        )

    def _out_of_patience(self, waited: int) -> bool:
        return self.patience is not None and waited >= self.patience

    def _log(self, record: Record) -> None:
        if self.trainer.is_main:
            path = self.checkpoints.folder / LOG_NAME
            try:
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
            except OSError as cause:
                raise CheckpointError(f"cannot write {path}: {cause.strerror}; {self.kept()}.") from cause
            for listener in self.listeners:
                listener(record)

    def _cut_log(self, step: int) -> None:
        """Leave out what was logged after the checkpoint that the run goes on from, and a line that was cut short."""
        if self.trainer.is_main:
            path = self.checkpoints.folder / LOG_NAME
            kept = [record for record in read_log(path) if record["step"] < step] if path.is_file() else []
            with atomic_write(path) as file:
                file.writelines(json.dumps(record).encode() + b"\n" for record in kept)


def has_run(folder: Path) -> bool:
    """Whether updates were logged or saved in a folder: a run that starts there would replace them."""
    log = folder / LOG_NAME
    return any(folder.glob(f"step-????????/{STATE_NAME}")) or (log.is_file() and log.stat().st_size > 0)


@contextmanager
def held_signals(hold: bool) -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM in a list, instead of its usual effect; a second one has that again.

    A handler of the program's own stays, and only the main thread can set others.
    """
    received: list[int] = []
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if not hold or threading.current_thread() is not threading.main_thread():
        usual = {}
    held = {number: handler for number, handler in usual.items() if signal.getsignal(number) == handler}

    def restore() -> None:
        for number, handler in held.items():
            signal.signal(number, handler)

    def receive(number: int, frame: Any) -> None:
        received.append(number)
        restore()

    for number in held:
        signal.signal(number, receive)
    try:
        yield received
    finally:
        restore()


def due(step: int, every: int | None) -> bool:
    """Whether something that happens every so many steps happens after this one."""
    return bool(every) and step % every == 0  # type: ignore[operator]


def read_log(path: str | Path) -> list[Record]:
    """The records of a log; a last line that was cut short is left out."""
    records = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records
