"""Checkpoints of a run: folders with the complete training state, the same for all frameworks.

``step-00000100`` is an ordinary model folder with two more files: ``optimizer.safetensors`` holds Adam's moments by
canonical name, ``training.json`` the step and the settings of the run. So a run can resume in another framework.
``last`` and ``best`` are links, or copies of the model where the system does not support links.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gptcore.backends.training import Trainer
from gptcore.checkpoint.containers import safetensors
from gptcore.checkpoint.folder import read_tensors
from gptcore.checkpoint.matching import match
from gptcore.checkpoint.pretrained import save_pretrained
from gptcore.checkpoint.tensors import OutgoingTensor
from gptcore.errors import CheckpointError, StorageError, TrainingError, bullet_list
from gptcore.spec.parameters import parameters
from gptcore.storage.atomic import atomic_write, make_folder, sync_folder
from gptcore.training.steps import MOMENTS

OPTIMIZER_NAME = "optimizer.safetensors"
STATE_NAME = "training.json"
PARTIAL = ".partial"


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: Folder of the run; created if missing.
        settings: Settings of the run, as JSON values; a resumed run must have the same. For data, include the
            ``fingerprint``, not the path.
        keep: Number of newest checkpoints to keep, besides the best one. Default: 2.
        extra_files: Function that writes more files into a checkpoint folder, such as the tokenizer. Default: none.
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
        make_folder(self.folder)

    def steps(self) -> list[int]:
        """The steps of all complete checkpoints, oldest first."""
        return sorted(int(path.name[5:]) for path in self.folder.glob("step-????????") if (path / STATE_NAME).is_file())

    def path(self, step: int) -> Path:
        """The checkpoint folder of a step."""
        return self.folder / f"step-{step:08d}"

    def save(
        self, step: int, trainer: Trainer, *, best: bool = False, progress: Mapping[str, Any] | None = None
    ) -> Path:
        """Save the state after ``step`` updates, atomically.

        Raises:
            StorageError: The disk is full or the folder cannot be written; earlier checkpoints are unchanged.
        """
        path, partial = self.path(step), self.folder / f"step-{step:08d}{PARTIAL}"
        weights, moments = trainer.weights(), trainer.moments()
        if not trainer.is_main:  # take part in gathering tensors that are sharded over processes
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
            raise StorageError(f"cannot write {path}: {cause.strerror}. Earlier checkpoints are unchanged.") from cause
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._forget()
        return path

    def restore(self, trainer: Trainer) -> tuple[int, dict[str, Any]]:
        """Load the newest checkpoint into a trainer; returns the next step and the saved ``progress``.

        Raises:
            TrainingError: There is no checkpoint, or the run has different settings; the error lists the differences.
            CheckpointError: The checkpoint is damaged.
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
        expected = {f"{moment}.{name}": table[name].shape for moment in MOMENTS for name in table}
        if expected != {name: tensor.shape for name, tensor in stored.items()}:
            raise CheckpointError(f"cannot resume: {path / OPTIMIZER_NAME} does not fit this model.")
        trainer.restore(
            state["step"],
            ((name, sources[name].read("float32")) for name in table),
            ((name, stored[name].read("float32")) for name in expected),
        )
        return state["step"], state["progress"]

    def _link(self, name: str, target: Path) -> None:
        """Point a name at a checkpoint: by a link or, if the system does not support links, by a copy of the model."""
        fresh = self.folder / f".{name}{PARTIAL}"
        _remove(fresh)
        try:
            fresh.symlink_to(target.name)
        except OSError:  # Windows without the privilege, Google Drive, FAT
            shutil.copytree(target, fresh, ignore=shutil.ignore_patterns(OPTIMIZER_NAME, STATE_NAME))
        _replace(fresh, self.folder / name)

    def _forget(self) -> None:
        """Remove all checkpoints except the newest and the best, and the remains of a killed run."""
        best = (self.folder / "best").resolve()
        for step in self.steps()[: -self.keep]:
            if self.path(step) != best and self.path(step).resolve() != best:
                shutil.rmtree(self.path(step), ignore_errors=True)
        for path in self.folder.glob(f"*{PARTIAL}"):
            _remove(path)


def _replace(fresh: Path, path: Path) -> None:
    """Rename ``fresh`` to ``path``. No system replaces a folder that has files, so an old one is first moved aside."""
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
    """Remove a link, or a folder with its contents, if it exists."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten settings to dotted names, so that only those that differ are shown."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def read_state(path: Path) -> dict[str, Any]:
    """Load ``training.json`` of a checkpoint.

    Raises:
        CheckpointError: The file cannot be read or has a wrong structure.
    """
    try:
        state = json.loads((path / STATE_NAME).read_text(encoding="utf-8"))
        if not isinstance(state["step"], int) or not isinstance(state["settings"], dict):
            raise TypeError("step or settings have a wrong type")
        return {"step": state["step"], "settings": state["settings"], "progress": dict(state["progress"])}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as cause:
        raise CheckpointError(f"cannot read {path / STATE_NAME}: {cause}") from cause
