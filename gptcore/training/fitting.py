"""Training and evaluation in one call, as in ``gptcore train`` and ``gptcore eval``: from files to a run folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gptcore.backends.training import LoadTrainer, load_trainers
from gptcore.release import DEFAULT_MODEL
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.spec.recipe import FINE_TUNING, PRETRAINING, Recipe
from gptcore.spec.tasks import TASKS
from gptcore.training.batches import once
from gptcore.training.corpus import Blocks, tokenize_corpus
from gptcore.training.evaluation import evaluate_lm, evaluate_task
from gptcore.training.examples import LABEL, TaskExamples, reject_unread_choices
from gptcore.training.jobs import (
    EVALUATION_BATCH,
    Paths,
    Rows,
    columns_of,
    prepare_lm,
    prepare_task,
    rows_of,
    trained_on,
)
from gptcore.training.memory import keep_freed_memory
from gptcore.training.run import Evaluation, Record, check_has_no_run
from tokenization import OpenAIGPTTokenizerFast


def fit(
    task: str,
    data: Paths | Rows,
    output: str | Path,
    *,
    model: str | None = None,
    backend: str = "torch",
    validation: Paths | Rows | None = None,
    recipe: Recipe | None = None,
    tokenizer: str | None = None,
    config: Mapping[str, Any] | None = None,
    columns: Sequence[str] | None = None,
    label: str = LABEL,
    header: Sequence[str] | None = None,
    evaluate_every: int | None = None,
    save_every: int | None = None,
    patience: int | None = None,
    resume: bool = False,
    listeners: Iterable[Callable[[Record], Any]] = (),
) -> Record:
    """Train a model and save it, as ``gptcore train`` does.

    Args:
        task: ``"lm"``, ``"classify"``, ``"entail"``, ``"similarity"`` or ``"choice"``.
        data: Files or folders of files; for tasks also rows (mappings from columns to values).
        output: The folder of the run; ``last`` in it is the newest checkpoint, ``best`` the best one.
        model: The model to start from: a folder or a repository. Default: the bundled one; for ``"lm"``, fresh weights.
        backend: ``"torch"`` (default), ``"tf"`` or ``"flax"``.
        validation: Data to evaluate on, in the same form as ``data``. Default: no evaluation.
        recipe: Hyperparameters. Default: ``FINE_TUNING``; for ``"lm"``, ``PRETRAINING``.
        tokenizer: For ``"lm"``: a folder or a repository. Default: that of ``model``.
        config: For ``"lm"``: settings of ``OpenAIGPTConfig`` to change, such as ``{"n_layer": 4}``. Default: none.
        columns: Names of the text columns. Default: those of the task in ``TASKS``; for ``"lm"``, ``text``.
        label: Name of the label column. Default: ``label``.
        header: For tasks: names of all columns, for CSV or TSV files without a header line. Default: none; the first
            line is the header.
        evaluate_every: Updates between evaluations. Default: only at the end.
        save_every: Updates between checkpoints. Default: none. A checkpoint is also saved when training ends, after an
            evaluation with a better score and at Ctrl-C.
        patience: Number of evaluations without improvement before training stops. Default: never stop.
        resume: Whether to resume from the newest checkpoint in ``output``, if there is one. Default: false.
        listeners: Functions that are called with each record of the log.

    Returns:
        The last record of the log: ``step``, ``loss``, and the metrics of an evaluation as ``eval_...``. Empty if the
        run was finished before.

    Raises:
        ConfigError, DataError, CheckpointError, StorageError, TokenizerError: An argument or a file is invalid.
        TrainingError: ``output`` holds a run and ``resume`` is false, the run cannot be resumed, or it diverged.
        Interrupted: After Ctrl-C; the updates so far are saved.

    >>> rows = [{"text": "a fine day", "label": "good"}, {"text": "a dull day", "label": "bad"}] * 2
    >>> record = fit("classify", rows, "runs/days", recipe=FINE_TUNING.replace(max_steps=1))  # doctest: +SKIP
    >>> sorted(record)  # doctest: +SKIP
    ['grad_norm', 'learning_rate', 'lm_loss', 'loss', 'step', 'task_loss', 'tokens_per_second']
    """
    if not resume:
        check_has_no_run(Path(output))
    loading = load_trainers(backend)
    options: dict[str, Any] = {"evaluate_every": evaluate_every, "save_every": save_every, "patience": patience}
    if task == "lm":
        job = prepare_lm(
            data,  # type: ignore[arg-type]  # rows are an error of the reader
            output,
            loading,
            model=model,
            validation=validation,  # type: ignore[arg-type]
            recipe=recipe or PRETRAINING,
            tokenizer=tokenizer,
            config=config or {},
            column=columns[0] if columns else "text",
            **options,
        )
    else:
        job = prepare_task(
            task,
            data,
            output,
            loading,
            model=model or DEFAULT_MODEL,
            validation=validation,
            recipe=recipe or FINE_TUNING,
            columns=columns,
            label=label,
            header=header,
            **options,
        )
    job.run.listeners.extend(listeners)
    return job(resume=resume)


def evaluate(
    task: str,
    data: Paths | Rows,
    model: str = DEFAULT_MODEL,
    *,
    backend: str | LoadTrainer = "torch",
    columns: Sequence[str] | None = None,
    label: str | None = None,
    header: Sequence[str] | None = None,
    stride: int | None = None,
) -> Evaluation:
    """Evaluate a model, as ``gptcore eval`` does.

    Args:
        task: ``"lm"``, ``"classify"``, ``"entail"``, ``"similarity"`` or ``"choice"``.
        data: Files or folders of files; for tasks also rows.
        model: A run of ``gptcore train``, another folder, or a repository. Default: the bundled model, which
            is fine-tuned for no task.
        backend: ``"torch"`` (default), ``"tf"`` or ``"flax"``, or what ``load_trainers`` returns.
        columns: Names of the text columns. Default: as in training, else those of the task.
        label: Name of the label column. Default: as in training, else ``label``.
        header: For tasks: names of all columns, for CSV or TSV files without a header line. Default: none; the first
            line is the header.
        stride: For ``"lm"``: tokens between block starts; smaller values give more context. Default: ``n_positions``.

    Returns:
        An ``Evaluation`` with ``metrics`` and, for a task, the ``outputs`` and ``targets`` of all examples.

    Raises:
        ConfigError, DataError, CheckpointError, StorageError, TokenizerError: An argument or a file is invalid.
    """
    keep_freed_memory()
    load_trainer = load_trainers(backend) if isinstance(backend, str) else backend
    words = OpenAIGPTTokenizerFast.from_pretrained(model)
    trained = trained_on(model, task)
    if task == "lm":
        column = columns[0] if columns else trained.get("columns", ["text"])[0]
        with tempfile.TemporaryDirectory() as folder:
            corpus = tokenize_corpus(data, words, folder, column=column)  # type: ignore[arg-type]
            blocks = Blocks(corpus.ids, OpenAIGPTConfig.from_pretrained(model).n_positions, stride)
            trainer = load_trainer(model, Head.LM, PRETRAINING, 1)
            batches = once(blocks, EVALUATION_BATCH)
            return evaluate_lm(trainer, batches, corpus.bytes_per_token, len(corpus.ids))
    names = tuple(columns or columns_of(model, task))
    rows = rows_of(data, names, label or trained.get("label", LABEL), header)
    if columns is None:
        reject_unread_choices(task, rows, names)
    examples = TaskExamples(task, rows, words, OpenAIGPTConfig.from_pretrained(model), names)
    trainer = load_trainer(model, TASKS[task].head, FINE_TUNING, 1)
    return evaluate_task(trainer, once(examples, EVALUATION_BATCH, examples.collate))
