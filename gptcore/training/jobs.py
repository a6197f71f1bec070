"""Preparation of runs: from files or rows to a loaded model, encoded batches and a checkpoint folder."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from gptcore.backends.training import LoadTrainer
from gptcore.checkpoint.opening import TASK_NAME, open_checkpoint
from gptcore.errors import ConfigError
from gptcore.release import DEFAULT_MODEL
from gptcore.spec.config import OpenAIGPTConfig, read_json_object
from gptcore.spec.parameters import Head
from gptcore.spec.recipe import Recipe
from gptcore.spec.tasks import TASKS, add_task_tokens
from gptcore.storage import hub, tables
from gptcore.storage.atomic import atomic_write
from gptcore.training.batches import Batches, once
from gptcore.training.checkpoints import Checkpoints
from gptcore.training.corpus import Blocks, tokenize_corpus
from gptcore.training.evaluation import evaluate_lm, evaluate_task
from gptcore.training.examples import LABEL, TaskExamples, label_settings, places, reject_unread_choices
from gptcore.training.fingerprints import fingerprint, tokenizer_fingerprint
from gptcore.training.memory import keep_freed_memory
from gptcore.training.run import LOG_NAME, Record, Run
from tokenization import OpenAIGPTTokenizerFast

RECIPE_NAME = "recipe.yaml"

EVALUATION_BATCH = 16

Paths = str | Path | Sequence[str | Path]
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Job:
    """A run that is ready to start: the model is loaded and the data are encoded.

    Attributes:
        task: ``"lm"`` or a name in ``TASKS``.
        recipe: The hyperparameters.
        run: The training loop; append to ``run.listeners`` to follow it.
    """

    task: str
    recipe: Recipe
    run: Run

    @property
    def output(self) -> Path:
        """The folder of the run."""
        return self.run.checkpoints.folder

    def warnings(self) -> list[str]:
        """Warnings about the recipe for a run of this length."""
        return self.recipe.warnings(self.run.total_steps, fine_tuning=self.task != "lm")

    def __call__(self, *, resume: bool = False) -> Record:
        """Train to the end and write ``recipe.yaml``; with ``resume``, from the newest checkpoint. See ``Run``."""
        keep_freed_memory()
        try:
            return self.run(resume=resume)
        finally:
            if self.run.trainer.is_main and (self.output / LOG_NAME).is_file():
                self.recipe.write(self.output / RECIPE_NAME)


def prepare_lm(
    data: Paths,
    output: str | Path,
    load_trainer: LoadTrainer,
    *,
    recipe: Recipe,
    model: str | None = None,
    tokenizer: str | None = None,
    config: Mapping[str, Any],
    fresh: Mapping[str, Any] | None = None,
    column: str = "text",
    validation: Paths | None = None,
    **options: Any,
) -> Job:
    """Load and encode everything that training a language model needs.

    Args:
        data, output, model, tokenizer, validation: As in ``fit``.
        load_trainer: The function of a backend that loads a trainer.
        recipe: The hyperparameters.
        config: Settings of the config to change.
        fresh: Default settings of a model that is trained from scratch; ``config`` overrides them.
        column: Name of the text column of tables. Default: ``text``.
        options: ``evaluate_every``, ``save_every`` and ``patience`` of ``Run``.
    """
    if tokenizer is None and model is None:
        raise ConfigError("Training from scratch needs a tokenizer. Train one with gptcore tokenizer train.")
    words = OpenAIGPTTokenizerFast.from_pretrained(str(tokenizer or model), task=None)
    started = OpenAIGPTConfig(**{"vocab_size": len(words), **(fresh or {}), **config}) if model is None else None
    length = (started or OpenAIGPTConfig.from_pretrained(str(model), **config)).n_positions
    words.model_max_length = length
    output = Path(output)
    corpus = {
        name: tokenize_corpus(paths, words, output / "corpus" / name, column=column)
        for name, paths in (("train", data), ("validation", validation))
        if paths
    }
    blocks = {name: Blocks(tokens.ids, length) for name, tokens in corpus.items()}
    total = recipe.total_steps(len(blocks["train"]))
    trainer = load_trainer(started or str(model), Head.LM, recipe, total, **({} if started else config))
    evaluate = None
    if "validation" in corpus:
        held_out, bytes_per_token = once(blocks["validation"], EVALUATION_BATCH), corpus["validation"].bytes_per_token
        evaluate = lambda trainer: evaluate_lm(trainer, held_out, bytes_per_token)  # noqa: E731
    checkpoints = _checkpoints(
        output,
        words,
        recipe,
        len(blocks["train"]),
        {"task": "lm", "config": dict(config)},
        {"columns": [column]},
        {
            "examples": fingerprint([blocks["train"].ids, length]),
            "validation": fingerprint([blocks["validation"].ids]) if "validation" in blocks else None,
            "model": model and model_fingerprint(model),
        },
    )
    run = Run(
        trainer=trainer,
        batches=Batches(blocks["train"], recipe.batch_size, seed=recipe.seed),
        total_steps=total,
        checkpoints=checkpoints,
        evaluate=evaluate,
        **options,
    )
    return Job("lm", recipe, run)


def prepare_task(
    task: str,
    data: Paths | Rows,
    output: str | Path,
    load_trainer: LoadTrainer,
    *,
    recipe: Recipe,
    model: str = DEFAULT_MODEL,
    columns: Sequence[str] | None = None,
    label: str = LABEL,
    header: Sequence[str] | None = None,
    validation: Paths | Rows | None = None,
    **options: Any,
) -> Job:
    """Load and encode everything that fine-tuning on a task needs; ``fit`` describes the arguments."""
    names = tuple(columns or task_named(task).columns)
    words = OpenAIGPTTokenizerFast.from_pretrained(model)
    vocab_size = add_task_tokens(words, task)
    rows = rows_of(data, names, label, header)
    if columns is None:
        reject_unread_choices(task, rows, names)
    labels = label_settings(task, [row[LABEL] for row in rows], places(rows))
    config = OpenAIGPTConfig.from_pretrained(model, **labels)
    words.model_max_length = config.n_positions
    examples = TaskExamples(task, rows, words, config, names)
    held_out, evaluate = None, None
    if validation:
        held_out = TaskExamples(task, rows_of(validation, names, label, header), words, config, names)
        batches_once = once(held_out, EVALUATION_BATCH, held_out.collate)
        evaluate = lambda trainer: evaluate_task(trainer, batches_once)  # noqa: E731
    total = recipe.total_steps(len(examples))
    lengths = examples.lengths if recipe.group_by_length else None
    trainer = load_trainer(model, TASKS[task].head, recipe, total, vocab_size=vocab_size, **labels)
    checkpoints = _checkpoints(
        Path(output),
        words,
        recipe,
        len(examples),
        {"task": task, "labels": labels.get("label2id")},
        {"columns": names, "label": label},
        {
            "examples": fingerprint(examples.examples),
            "validation": fingerprint(held_out.examples) if held_out else None,
            "model": model_fingerprint(model),
        },
    )
    run = Run(
        trainer=trainer,
        batches=Batches(examples, recipe.batch_size, seed=recipe.seed, collate=examples.collate, lengths=lengths),
        total_steps=total,
        checkpoints=checkpoints,
        evaluate=evaluate,
        **options,
    )
    return Job(task, recipe, run)


def task_named(task: str) -> Any:
    """Return a task by name.

    Raises:
        ConfigError: The name is unknown.
    """
    if task not in TASKS:
        raise ConfigError(f"task must be one of {', '.join(map(repr, ('lm', *TASKS)))}; got {task!r}.")
    return TASKS[task]


def rows_of(data: Paths | Rows, names: Sequence[str], label: str, header: Sequence[str] | None = None) -> list[Any]:
    """Return the rows of tables, or the passed rows, with the label in the column ``label``.

    Raises:
        DataError: There are no rows, or a file cannot be read or lacks a column.
    """
    if is_rows(data):
        where = places(data)
        for place, row in zip(where, data, strict=True):
            tables.check_columns(place, row, [label])
        return [tables.Row({**row, LABEL: row[label]}, place) for place, row in zip(where, data, strict=True)]
    table = tables.read_table(data, (*names, label), header)  # type: ignore[arg-type]  # no rows
    return [tables.Row({**row, LABEL: row[label]}, row.place) for row in table]


def is_rows(data: Paths | Rows) -> TypeGuard[Rows]:
    """Whether these are rows rather than files."""
    return not isinstance(data, (str, Path)) and len(data) > 0 and isinstance(data[0], Mapping)


def trained_on(model: str, task: str) -> dict[str, Any]:
    """The column names that a local model was trained on; empty for another task or an unknown one."""
    if not Path(model).is_dir():
        return {}
    path = hub.resolve(model, hub.named(TASK_NAME)) / TASK_NAME
    trained = read_json_object(path) if path.is_file() else {}
    return trained if trained.get("task") == task else {}


def columns_of(model: str, task: str) -> tuple[str, ...]:
    """The text columns that a model was trained on or, if they are unknown, those of the task."""
    return tuple(trained_on(model, task).get("columns") or task_named(task).columns)


def model_fingerprint(model: str) -> str:
    """The fingerprint of a checkpoint's config and weights, independent of format and path."""
    checkpoint = open_checkpoint(model)
    config, sources = checkpoint.config.replace(extra={}).to_dict(), checkpoint.matching.sources
    return fingerprint(itertools.chain([config], (sources[name].read("float32") for name in sorted(sources))))


def _checkpoints(
    output: Path,
    tokenizer: Any,
    recipe: Recipe,
    examples: int,
    what: Mapping[str, Any],
    columns: Mapping[str, Any],
    content: Mapping[str, Any],
) -> Checkpoints:
    """Create the checkpoints of a run, which also hold the tokenizer and the column names."""

    def write_more(folder: Path) -> None:
        tokenizer.save_pretrained(folder)
        with atomic_write(folder / TASK_NAME) as file:
            file.write(json.dumps({"task": what["task"], **columns}, indent=2).encode() + b"\n")

    settings = {
        **what,
        "recipe": recipe.to_dict(),
        "examples": examples,
        "fingerprint": {**content, "tokenizer": tokenizer_fingerprint(tokenizer)},
    }
    return Checkpoints(output, settings, extra_files=write_more)
