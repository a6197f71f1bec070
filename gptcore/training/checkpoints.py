"""Checkpoints of a run: folders that hold a whole training state, the same for all frameworks.

``step-00000100`` is a model folder as any other, with two more files: ``optimizer.safetensors`` holds Adam's moments by
canonical name, ``training.json`` the step and what the run was started with. So a run can be resumed in another
framework than it was begun in. ``last`` and ``best`` are links, or copies of the model where a system has no links.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gptcore.backends.training import Trainer
from gptcore.checkpoint.folder import read_tensors
from gptcore.checkpoint.formats import safetensors
from gptcore.checkpoint.matching import match
from gptcore.checkpoint.pretrained import save_pretrained
from gptcore.checkpoint.tensors import OutgoingTensor
from gptcore.errors import CheckpointError, TrainingError, bullet_list
from gptcore.spec.parameters import parameters
from gptcore.storage.atomic import atomic_write, sync_folder
from gptcore.training.steps import MOMENTS

OPTIMIZER_NAME = "optimizer.safetensors"
STATE_NAME = "training.json"
PARTIAL = ".partial"


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: of the run; made if missing.
        settings: what the run is started with, ready for JSON; a resumed run must have the same. Of data, give the
            ``fingerprint``, not the path.
        keep: how many of the newest to keep, besides the best.
        extra_files: writes more files into a checkpoint, such as the tokenizer.
    """

    def __init__(
        self,
        folder: str | Path,
        settings: Mapping[str, Any],
        *,
        keep: int = 2,
        extra_files: Callable[[Path], Any] | None = None,
    ) -> None:
        self.folder, self.keep, self.extra_files = Path(folder), keep, extra_files
        self.settings = json.loads(json.dumps(settings))  # as they are when read back
        self.folder.mkdir(parents=True, exist_ok=True)

    def steps(self) -> list[int]:
        """The steps of the whole checkpoints, oldest first."""
        return sorted(int(path.name[5:]) for path in self.folder.glob("step-????????") if (path / STATE_NAME).is_file())

    def path(self, step: int) -> Path:
        """The folder of a step."""
        return self.folder / f"step-{step:08d}"

    def save(
        self, step: int, trainer: Trainer, *, best: bool = False, progress: Mapping[str, Any] | None = None
    ) -> Path:
        """Write the state after ``step`` updates; a reader sees all of it or nothing.

        Raises:
            CheckpointError: the disk is full or the folder cannot be written; earlier checkpoints are untouched.
        """
        path, partial = self.path(step), self.folder / f"step-{step:08d}{PARTIAL}"
        weights, moments = trainer.weights(), trainer.moments()
        if not trainer.is_main:  # take part in gathering what is spread over processes
            for _ in (*weights, *moments):
                pass
            return path
        try:
            shutil.rmtree(partial, ignore_errors=True)
            save_pretrained(partial, trainer.config, trainer.head, "float32", weights)
            tensors = [OutgoingTensor.of(name, "float32", array) for name, array in moments]
            with atomic_write(partial / OPTIMIZER_NAME) as file:
                safetensors.write(file, tensors)
            if self.extra_files:
                self.extra_files(partial)
            state = {"step": step, "settings": self.settings, "progress": dict(progress or {})}
            with atomic_write(partial / STATE_NAME) as file:
                file.write(json.dumps(state, indent=2).encode() + b"\n")
            _replace(partial, path)
            sync_folder(self.folder)
            self._link("last", path)
            if best:
                self._link("best", path)
        except OSError as cause:
            raise CheckpointError(
                f"cannot write {path}: {cause.strerror}. Earlier checkpoints are unchanged."
            ) from cause
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._forget()
        return path

    def restore(self, trainer: Trainer) -> tuple[int, dict[str, Any]]:
        """Load the newest checkpoint; returns the step to go on with, and the ``progress`` it was saved with.

        Raises:
            TrainingError: there is none, or the run was started with other settings; all differences are listed.
            CheckpointError: it is damaged.
        """
        if not self.steps():
            raise TrainingError(f"cannot resume {self.folder}: it has no checkpoint.")
        path = self.path(self.steps()[-1])
        state = read_state(path)
        before, now = dict(_flat(state["settings"])), dict(_flat(self.settings))
        differences = [
            f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
            for name in sorted({*before, *now})
            if before.get(name) != now.get(name)
        ]
        if differences:
            raise TrainingError(
                f"cannot resume {path}: the run was started with different settings or data. Restore them, or choose "
                "another folder:\n" + bullet_list(differences)
            )
        sources = match(read_tensors(path), trainer.config, trainer.head).sources
        stored = {tensor.name: tensor for tensor in safetensors.read(path / OPTIMIZER_NAME)}
        table = parameters(trainer.config, trainer.head)
        wanted = {f"{moment}.{name}": table[name].shape for moment in MOMENTS for name in table}
        if wanted != {name: tensor.shape for name, tensor in stored.items()}:
            raise CheckpointError(f"cannot resume: {path / OPTIMIZER_NAME} does not fit this model.")
        trainer.restore(
            state["step"],
            ((name, sources[name].read("float32")) for name in table),
            ((name, stored[name].read("float32")) for name in wanted),
        )
        return state["step"], state["progress"]

    def _link(self, name: str, target: Path) -> None:
        """Let a name stand for a checkpoint: by a link or, where a system has none, by a copy of the model."""
        fresh = self.folder / f".{name}{PARTIAL}"
        _remove(fresh)
        try:
            fresh.symlink_to(target.name)
        except OSError:  # Windows without the privilege, Google Drive, FAT
            shutil.copytree(target, fresh, ignore=shutil.ignore_patterns(OPTIMIZER_NAME, STATE_NAME))
        _replace(fresh, self.folder / name)

    def _forget(self) -> None:
        """Remove all but the newest and the best, and what a killed run left behind."""
        best = (self.folder / "best").resolve()
        for step in self.steps()[: -self.keep]:
            if self.path(step) != best and self.path(step).resolve() != best:
                shutil.rmtree(self.path(step), ignore_errors=True)
        for path in self.folder.glob(f"*{PARTIAL}"):
            _remove(path)


def _replace(fresh: Path, path: Path) -> None:
    """Rename over what is there. No system replaces a folder with files, so it is first moved aside."""
    if path.is_symlink() or not path.exists():
        os.replace(fresh, path)
        return
    aside = path.with_name(f".{path.name}.old{PARTIAL}")
    _remove(aside)
    path.rename(aside)
    try:
        fresh.rename(path)
    except OSError:
        aside.rename(path)
        raise
    _remove(aside)


def _remove(path: Path) -> None:
    """A link, or a folder with all that is in it, if it is there."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by dotted names, so that one that differs is shown alone."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def read_state(path: Path) -> dict[str, Any]:
    """``training.json`` of a checkpoint.

    Raises:
        CheckpointError: it cannot be read, or is none.
    """
    try:
        state = json.loads((path / STATE_NAME).read_text(encoding="utf-8"))
        if not isinstance(state["step"], int) or not isinstance(state["settings"], dict):
            raise TypeError("step or settings have a wrong type")
        return {"step": state["step"], "settings": state["settings"], "progress": dict(state["progress"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as cause:
        raise CheckpointError(f"cannot read {path / STATE_NAME}: {cause}") from cause
