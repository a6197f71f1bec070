"""The training loop over a ``Trainer``: log, evaluation, checkpoints, early stopping, signals, resuming."""

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
from gptcore.errors import StorageError, TrainingError
from gptcore.storage.atomic import atomic_write
from gptcore.training.batches import Batches
from gptcore.training.checkpoints import STATE_NAME, Checkpoints

LOG_NAME = "log.jsonl"

Record = dict[str, Any]


class Interrupted(KeyboardInterrupt):
    """A signal stopped a run; the updates so far are saved.

    Attributes:
        signal: The signal, SIGINT or SIGTERM.
        step: The number of finished updates.
        path: The checkpoint that was saved.
    """

    def __init__(self, number: int, step: int, path: Path) -> None:
        super().__init__(f"stopped after {step:,} updates, saved in {path}")
        self.signal, self.step, self.path = number, step, path


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation.

    Attributes:
        metrics: The metrics by name, for the log.
        score: The number that determines the best checkpoint; larger is better.
        outputs: For a task, the outputs of the head, (examples, classes) or, for scores, (examples, 1).
        targets: For a task, the targets, (examples,).
        count: The number of examples of a task, or of tokens of a corpus.
    """

    metrics: Mapping[str, float]
    score: float
    outputs: NDArray[Any] | None = field(default=None, compare=False, repr=False)
    targets: NDArray[Any] | None = field(default=None, compare=False, repr=False)
    count: int = field(default=0, compare=False)


@dataclass(kw_only=True)
class Run:
    """A training run with its folder.

    Args:
        trainer: The trainer of a backend.
        batches: The batch of each step.
        total_steps: The number of updates.
        checkpoints: The checkpoints, with the settings of the run.
        evaluate: Function that evaluates the model. Default: no evaluation.
        evaluate_every: Updates between evaluations, besides the one at the end. Default: only at the end.
        save_every: Updates between checkpoints. Default: none. A checkpoint is also saved when training ends, after an
            evaluation with a better score and at Ctrl-C.
        patience: Number of evaluations without a better score before training stops. Default: never stop.
        listeners: Functions that are called with each record of the log.
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
            resume: Whether to resume from the newest checkpoint, if there is one. The losses are bit-identical to those
                of an uninterrupted run. Default: false.

        Raises:
            TrainingError: The loss or the gradient is not finite (checkpoints are unchanged), or the folder already
                holds a run and ``resume`` is false.
            StorageError: The disk is full; earlier checkpoints are unchanged.
            Interrupted: A ``KeyboardInterrupt`` after the first Ctrl-C or SIGTERM; the current update is finished and
                saved. A second signal stops the run immediately. Signals are only handled in the main thread, if the
                program has no handlers of its own, and if a single process trains: several processes would stop at
                different updates.
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
        """The step to start with, the best score so far, and the number of evaluations since."""
        if not resume:
            check_has_no_run(self.checkpoints.folder)
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
                    f"{results['learning_rate']:.3g}; {self.resumable()}. Start a new run in another folder with "
                    "a lower learning_rate or a longer warm-up."
                )
        return {"step": step, **results, "tokens_per_second": batch["input_ids"].size / seconds}

    def resumable(self) -> str:
        """Describe the checkpoint that the run could resume from now."""
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
                raise StorageError(f"cannot write {path}: {cause.strerror}; {self.resumable()}.") from cause
            for listener in self.listeners:
                listener(record)

    def _cut_log(self, step: int) -> None:
        """Drop records after the checkpoint that the run resumes from, and an incomplete last line."""
        if self.trainer.is_main:
            path = self.checkpoints.folder / LOG_NAME
            earlier = [record for record in read_log(path) if record["step"] < step] if path.is_file() else []
            with atomic_write(path) as file:
                file.writelines(json.dumps(record).encode() + b"\n" for record in earlier)


def check_has_no_run(folder: Path, advice: str = "Pass resume=True, or choose another folder.") -> None:
    """Raise a ``TrainingError`` if a folder already holds logged or saved updates, which a new run would replace."""
    log = folder / LOG_NAME
    if any(folder.glob(f"step-????????/{STATE_NAME}")) or (log.is_file() and log.stat().st_size > 0):
        raise TrainingError(f"{folder} already holds a run. {advice}")


@contextmanager
def held_signals(hold: bool) -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM in a list; a second one has its usual effect.

    Handlers that the program has set are kept. Only the main thread can set handlers.
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
    """Whether something that happens every ``every`` steps happens after this one; never for ``None``."""
    return bool(every) and step % every == 0  # type: ignore[operator]


def read_log(path: str | Path) -> list[Record]:
    """Load the records of a log; an incomplete last line is ignored."""
    records = []
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records
