"""``gptcore train`` and ``gptcore eval``: the paper's two stages, over any backend."""

from __future__ import annotations

import importlib.util
import itertools
import json
import math
import signal
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gptcore import DEFAULT_MODEL
from gptcore import files as files_module
from gptcore.checkpoint.atomic import atomic_write
from gptcore.checkpoint.opening import open_checkpoint
from gptcore.cli.loading import Device, use_trainers
from gptcore.cli.report import print_report, print_settings
from gptcore.cli.settings import (
    SHIPPED,
    TASK_NAME,
    columns_for,
    examples,
    model_named,
    parse_settings,
    reject_unread_choices,
    text_columns,
    trained_columns,
)
from gptcore.config import OpenAIGPTConfig
from gptcore.errors import ConfigError, DataError, GPTError, TrainingError
from gptcore.installation import install_command
from gptcore.parameters import Head
from gptcore.recipe import FINE_TUNING, PRESETS, PRETRAINING, Recipe
from gptcore.tasks import LABEL, TASKS, TaskExamples, add_task_tokens, class_names, label_settings, places
from gptcore.training import (
    Batches,
    Blocks,
    Checkpoints,
    Evaluation,
    Run,
    fingerprint,
    keep_freed_memory,
    once,
    read_log,
    tokenize_corpus,
    tokenizer_fingerprint,
)
from gptcore.training.curves import draw, plot
from gptcore.training.evaluation import evaluate_lm, evaluate_task
from gptcore.training.run import LOG_NAME, Interrupted, Record, has_run
from tokenization import OpenAIGPTTokenizerFast

RECIPE_NAME = "recipe.yaml"
EVALUATION_BATCH = 16

TRAIN_LM = "gptcore train lm books --tokenizer words --preset small --output runs/books"
EVAL_LM = ("gptcore eval lm heldout", "gptcore eval lm heldout --model runs/books")
RUNS = {"classify": "reviews", "entail": "pairs", "similarity": "scores", "choice": "stories"}
"""Task -> name of the data file and of the run in examples."""


def _train(task: str) -> str:
    return f"gptcore train {task} {RUNS[task]}.jsonl --output runs/{RUNS[task]}"


def _eval(task: str) -> str:
    return f"gptcore eval {task} {RUNS[task]}.jsonl --model runs/{RUNS[task]}"


train_application = typer.Typer(
    help="Train a model.",
    epilog=examples("gptcore train --list-settings", _train("classify"), TRAIN_LM),
    no_args_is_help=True,
)
eval_application = typer.Typer(
    help="Evaluate a model.", epilog=examples(_eval("classify"), EVAL_LM[0]), no_args_is_help=True
)

Files = Annotated[list[Path], typer.Argument(help="Files, or folders of files.")]
Output = Annotated[Path, typer.Option(help="Folder of the run.")]
Backend = Annotated[str, typer.Option(help="torch, tf or flax.")]
Validation = Annotated[list[Path] | None, typer.Option(help="Files to evaluate the model on.")]
RecipeFile = Annotated[Path | None, typer.Option("--recipe", help="A YAML or JSON file of hyperparameters.")]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=JSON",
        help="A hyperparameter; overrides the recipe. gptcore train --list-settings lists them.",
    ),
]
Every = Annotated[int | None, typer.Option(min=1, help="Updates between evaluations; default: only at the end.")]
SaveEvery = Annotated[int | None, typer.Option(min=1, help="Updates between checkpoints; default: only at the end.")]
Patience = Annotated[int | None, typer.Option(min=1, help="Evaluations without improvement before stopping.")]
Resume = Annotated[bool, typer.Option(help="Resume from the newest checkpoint in OUTPUT, if there is one.")]
Quiet = Annotated[bool, typer.Option(help="Show no progress and no curve.")]
Columns = Annotated[str | None, typer.Option(help="Names of the text columns, separated by commas.")]
Label = Annotated[str, typer.Option(help="Name of the label column.")]
EvalColumns = Annotated[
    str | None, typer.Option(help="Names of the text columns, separated by commas. Default: as in training.")
]
EvalLabel = Annotated[str | None, typer.Option(help="Name of the label column. Default: as in training, else label.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a report.")]
Header = Annotated[str | None, typer.Option(help="Names of all columns, for CSV or TSV without a header.")]


def _list_settings(wanted: bool) -> None:
    if wanted:
        print_settings()
        raise typer.Exit


@train_application.callback()
def _group(
    list_settings: Annotated[
        bool,
        typer.Option(
            "--list-settings",
            callback=_list_settings,
            is_eager=True,
            help="List the settings for --set and exit.",
        ),
    ] = False,
) -> None:
    """Train a model."""


@train_application.command("lm", epilog=examples(TRAIN_LM))
def train_lm(
    context: typer.Context,
    files: Files,
    output: Output,
    tokenizer: Annotated[
        str | None, typer.Option(help="Tokenizer: a folder or a repository. Default: that of --model.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Model to start from: a folder or a repository. Default: none, train from scratch."),
    ] = None,
    config: Annotated[
        list[str] | None, typer.Option("--config", metavar="NAME=JSON", help="Model size, such as n_layer=4.")
    ] = None,
    backend: Backend = "torch",
    device: Device = None,
    validation: Validation = None,
    column: Annotated[str, typer.Option(help="Name of the text column of tables.")] = "text",
    preset: Annotated[
        str, typer.Option(help="Hyperparameters and model size: paper, or small (for 1 MB of text on a laptop).")
    ] = "paper",
    recipe: RecipeFile = None,
    settings: Settings = None,
    evaluate_every: Every = None,
    save_every: SaveEvery = None,
    patience: Patience = None,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Train a language model from scratch, or train an existing one further."""
    require_libraries()
    require_no_run(output, resume)
    if preset not in PRESETS:
        raise ConfigError(f"--preset must be one of {', '.join(PRESETS)}; got {preset!r}.")
    chosen = chosen_recipe(PRESETS[preset].recipe, recipe, settings)
    if tokenizer is None and model is None:
        raise ConfigError(
            'Training from scratch needs --tokenizer. Create one with "gptcore tokenizer train FILES --output words".'
        )
    load_trainer = use_trainers(context, backend, device)
    words = OpenAIGPTTokenizerFast.from_pretrained(str(tokenizer or model), task=None)
    sizes = parse_settings(config or [], "--config")
    fresh = {"vocab_size": len(words), **PRESETS[preset].sizes, **sizes}
    source = model if model is not None else OpenAIGPTConfig(**fresh)
    length = (config_of(model, sizes) if model is not None else source).n_positions  # type: ignore[union-attr]
    words.model_max_length = length
    corpus = {
        name: tokenize_corpus(list(paths), words, output / "corpus" / name, column=column)
        for name, paths in (("train", files), ("validation", validation or []))
        if paths
    }
    blocks = {name: Blocks(tokens.ids, length) for name, tokens in corpus.items()}
    batches = Batches(blocks["train"], chosen.batch_size, seed=chosen.seed)
    total = chosen.total_steps(len(blocks["train"]))
    changes = sizes if model is not None else {}
    trainer = load_trainer(source, Head.LM, chosen, total, **changes)
    evaluate = None
    if "validation" in corpus:
        held_out, bytes_per_token = once(blocks["validation"], EVALUATION_BATCH), corpus["validation"].bytes_per_token
        evaluate = lambda trainer: evaluate_lm(trainer, held_out, bytes_per_token)  # noqa: E731
    start(
        trainer, batches, total, output, chosen, words,
        what={"task": "lm", "config": sizes},
        content={
            "examples": fingerprint([blocks["train"].ids, length]),
            "validation": fingerprint([blocks["validation"].ids]) if "validation" in blocks else None,
            "model": model and model_fingerprint(model),
        },
        columns={"columns": [column]},
        evaluate=evaluate,
        evaluate_every=evaluate_every, save_every=save_every, patience=patience, resume=resume, quiet=quiet,
    )  # fmt: skip


def train_task(
    context: typer.Context,
    task: str,
    files: list[Path],
    output: Path,
    model: str,
    backend: str,
    device: str | None,
    validation: list[Path] | None,
    columns: str | None,
    label: str,
    header: str | None,
    choices: int | None,
    recipe: Path | None,
    settings: list[str] | None,
    **options: Any,
) -> None:
    """Fine-tune on one of the four kinds of task."""
    require_libraries()
    require_no_run(output, options["resume"])
    chosen = chosen_recipe(FINE_TUNING, recipe, settings)
    load_trainer = use_trainers(context, backend, device)
    words = OpenAIGPTTokenizerFast.from_pretrained(model)
    vocab_size = add_task_tokens(words, task)
    names = text_columns(task, columns, choices or 2)
    rows = read_rows(files, names, label, header)
    reject_unread_choices(task, rows, names, columns, choices)
    labels = label_settings(task, [row[LABEL] for row in rows], places(rows))
    config = config_of(model, labels)
    words.model_max_length = config.n_positions
    examples = TaskExamples(task, rows, words, config, names)
    held_out, found = None, None
    if validation:
        found = TaskExamples(task, read_rows(validation, names, label, header), words, config, names)
        held_out = once(found, EVALUATION_BATCH, found.collate)
    total = chosen.total_steps(len(examples))
    lengths = examples.lengths if chosen.group_by_length else None
    batches = Batches(examples, chosen.batch_size, seed=chosen.seed, collate=examples.collate, lengths=lengths)
    changes = {"vocab_size": vocab_size, **labels}
    trainer = load_trainer(model, TASKS[task].head, chosen, total, **changes)
    start(
        trainer, batches, total, output, chosen, words,
        what={"task": task, "labels": labels.get("label2id")},
        content={
            "examples": fingerprint(examples.examples),
            "validation": fingerprint(found.examples) if found else None,
            "model": model_fingerprint(model),
        },
        columns={"columns": names, "label": label},
        evaluate=(lambda trainer: evaluate_task(trainer, held_out)) if held_out else None,
        **options,
    )  # fmt: skip


def require_libraries() -> None:
    """Raise a ``GPTError`` now rather than an ``ImportError`` at the end of a run."""
    missing = [name for name in ("sklearn", "matplotlib", "plotext") if importlib.util.find_spec(name) is None]
    if missing:
        raise GPTError(f"training needs {', '.join(missing)}: {install_command('train')}")


def require_no_run(output: Path, resume: bool) -> None:
    """Raise a ``TrainingError`` if the folder already holds a run, before anything is loaded."""
    if not resume and has_run(output):
        raise TrainingError(f"{output} already holds a run. Add --resume, or choose another --output.")


def start(
    trainer: Any,
    batches: Batches,
    total: int,
    output: Path,
    recipe: Recipe,
    tokenizer: Any,
    *,
    what: Mapping[str, Any],
    content: Mapping[str, Any],
    columns: Mapping[str, Any],
    evaluate: Any,
    evaluate_every: int | None,
    save_every: int | None,
    patience: int | None,
    resume: bool,
    quiet: bool,
) -> None:
    """Train with a progress bar, and write the recipe and the curve beside the log."""
    keep_freed_memory()

    def write_more(folder: Path) -> None:
        tokenizer.save_pretrained(folder)
        with atomic_write(folder / TASK_NAME) as file:
            file.write(json.dumps({"task": what["task"], **columns}, indent=2).encode() + b"\n")

    checkpoints = Checkpoints(
        output,
        {
            **what,
            "recipe": recipe.to_dict(),
            "examples": len(batches.source),
            "fingerprint": {**content, "tokenizer": tokenizer_fingerprint(tokenizer)},
        },
        extra_files=write_more,
    )
    console = Console(stderr=True)
    parts = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    if trainer.is_main:
        for warning in recipe.warnings(total, fine_tuning=what["task"] != "lm"):
            console.print(f"Warning: {warning}", highlight=False, markup=False)
    quiet = quiet or not trainer.is_main
    if not quiet:
        tokens = batches[0]["input_ids"].size
        console.print(f"{total:,} updates of {tokens:,} tokens, {total * tokens:,} in all", highlight=False)
    bar = Progress(*parts, console=console, disable=quiet)
    shown = bar.add_task("training", total=total)

    def show(record: Record) -> None:
        text = f"loss {record['loss']:.4f}, {record['tokens_per_second']:,.0f} tokens/s"
        bar.update(shown, completed=record["step"] + 1, description=text)
        if not quiet and (found := evaluation_text(record)):
            bar.console.print(f"after {record['step'] + 1:,} updates: {found}", highlight=False)

    def tell(text: str) -> None:
        if trainer.is_main:
            console.print(text, highlight=False, markup=False, soft_wrap=True)

    listeners = [show, *([tensorboard(output)] if trainer.is_main else [])]
    run = Run(
        trainer=trainer, batches=batches, total_steps=total, checkpoints=checkpoints, evaluate=evaluate,
        evaluate_every=evaluate_every, save_every=save_every, patience=patience, listeners=listeners,
    )  # fmt: skip
    try:
        with bar:
            record = run(resume=resume)
    except Interrupted as stop:
        tell(f"Stopped after {stop.step:,} of {total:,} updates, saved in {stop.path}. Add --resume to continue.")
        raise typer.Exit(128 + stop.signal) from None
    except KeyboardInterrupt:
        tell(f"Stopped at once; {run.kept()}. Add --resume to continue.")
        raise typer.Exit(128 + signal.SIGINT) from None
    finally:
        log = output / LOG_NAME
        records = read_log(log) if trainer.is_main and log.is_file() else []
        if records:
            recipe.write(output / RECIPE_NAME)
            plot(records, output / "curve.png")
    if not record:
        tell(f"{output} is finished ({checkpoints.steps()[-1]:,} of {total:,} updates). Nothing was trained.")
    if trainer.is_main:
        if not quiet:
            console.print(draw(records), highlight=False)
        print(output / "last")


def evaluation_text(record: Record) -> str:
    """The evaluation in a record, as text."""
    return ", ".join(f"{name[5:]} {value:.4f}" for name, value in record.items() if name.startswith("eval_"))


def tensorboard(output: Path) -> Any:
    """A listener that writes for TensorBoard if that is installed, else one that does nothing."""
    try:
        from tensorboard.summary import Writer
    except ImportError:
        return lambda record: None
    writer = Writer(str(output / "tensorboard"))

    def listen(record: Record) -> None:
        for name, value in record.items():
            if name != "step":
                writer.add_scalar(name, value, record["step"])
        writer.flush()

    return listen


def chosen_recipe(stage: Recipe, file: Path | None, settings: Sequence[str] | None) -> Recipe:
    """The recipe of a stage, with the settings of a file and of the command line."""
    base = stage if file is None else Recipe.read(file)
    return base.replace(**parse_settings(settings or [], "--set"))


def config_of(model: str, changes: Mapping[str, Any]) -> OpenAIGPTConfig:
    """The config of a checkpoint, with changes."""
    return OpenAIGPTConfig.from_pretrained(model, **changes)


def model_fingerprint(model: str) -> str:
    """The fingerprint of a checkpoint: its config and weights, in any format and place."""
    checkpoint = open_checkpoint(model)
    config, sources = checkpoint.config.replace(extra={}).to_dict(), checkpoint.matching.sources
    return fingerprint(itertools.chain([config], (sources[name].read("float32") for name in sorted(sources))))


def read_rows(files: Sequence[Path], names: Sequence[str], label: str, header: str | None) -> list[files_module.Row]:
    """All rows of some tables, with their label under its own name."""
    found = files_module.find(files, files_module.TABLES)
    wanted = (*names, label)
    rows = [row for path in found for _, row in files_module.rows(path, wanted, header.split(",") if header else None)]
    if not rows:
        raise DataError(f"no rows in {', '.join(map(str, found))}")
    return [files_module.Row({**row, LABEL: row[label]}, row.place) for row in rows]


def add_task_commands(task: str, help_text: str) -> None:
    """Add the commands of one kind of task; ``help_text`` names the model."""

    @train_application.command(task, help=f"Fine-tune {help_text}", epilog=examples(_train(task)))
    def train(
        context: typer.Context,
        files: Files,
        output: Output,
        model: Annotated[
            str, typer.Option(help="Model to start from: a folder or a repository.", show_default=SHIPPED)
        ] = DEFAULT_MODEL,
        backend: Backend = "torch",
        device: Device = None,
        validation: Validation = None,
        columns: Columns = None,
        label: Label = LABEL,
        header: Header = None,
        choices: Annotated[
            int | None, typer.Option(min=2, help="Number of choices; for the task choice only.", show_default="2")
        ] = None,
        recipe: RecipeFile = None,
        settings: Settings = None,
        evaluate_every: Every = None,
        save_every: SaveEvery = None,
        patience: Patience = None,
        resume: Resume = False,
        quiet: Quiet = False,
    ) -> None:
        train_task(
            context, task, files, output, model, backend, device, validation, columns, label, header, choices, recipe,
            settings,
            evaluate_every=evaluate_every, save_every=save_every, patience=patience, resume=resume, quiet=quiet,
        )  # fmt: skip

    @eval_application.command(task, help=f"Evaluate {help_text}", epilog=examples(_eval(task), f"{_eval(task)} --json"))
    def measure(
        context: typer.Context,
        files: Files,
        model: Annotated[str, typer.Option(help="A run of gptcore train, another model folder, or a repository.")],
        backend: Backend = "torch",
        device: Device = None,
        columns: EvalColumns = None,
        label: EvalLabel = None,
        header: Header = None,
        choices: Annotated[
            int | None, typer.Option(min=2, help="Number of choices; for the task choice only.", show_default="2")
        ] = None,
        as_json: AsJSON = False,
    ) -> None:
        keep_freed_memory()
        load_trainer = use_trainers(context, backend, device)
        words = OpenAIGPTTokenizerFast.from_pretrained(model)
        names = columns_for(model, task, columns, choices)
        rows = read_rows(files, names, label or trained_columns(model, task).get("label", LABEL), header)
        reject_unread_choices(task, rows, names, columns, choices)
        config = config_of(model, {})
        examples = TaskExamples(task, rows, words, config, names)
        trainer = load_trainer(model, TASKS[task].head, FINE_TUNING, 1)
        found = evaluate_task(trainer, once(examples, EVALUATION_BATCH, examples.collate))
        report(found, as_json, f"{task}: {model}, {len(examples):,} examples", class_names(task, config, names))


@eval_application.command("lm", epilog=examples(*EVAL_LM))
def eval_lm(
    context: typer.Context,
    files: Files,
    model: Annotated[str, typer.Option(help="A folder or a repository.", show_default=SHIPPED)] = DEFAULT_MODEL,
    backend: Backend = "torch",
    device: Device = None,
    column: Annotated[
        str | None, typer.Option(help="Name of the text column of tables. Default: as in training, else text.")
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(
            min=1, help="Tokens between block starts; smaller values give more context.", show_default="n_positions"
        ),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Evaluate a language model: loss per token, perplexity and bits per byte of a corpus."""
    keep_freed_memory()
    load_trainer = use_trainers(context, backend, device)
    words = OpenAIGPTTokenizerFast.from_pretrained(model)
    trained = trained_columns(model, "lm").get("columns", ["text"])
    with tempfile.TemporaryDirectory() as folder:
        corpus = tokenize_corpus(files, words, folder, column=column or trained[0])
        blocks = Blocks(corpus.ids, config_of(model, {}).n_positions, stride)
        trainer = load_trainer(model, Head.LM, PRETRAINING, 1)
        found = evaluate_lm(trainer, once(blocks, EVALUATION_BATCH), corpus.bytes_per_token)
        report(found, as_json, f"lm: {model_named(model)}, {len(corpus.ids):,} tokens")


def report(evaluation: Evaluation, as_json: bool, subject: str, labels: Sequence[str] = ()) -> None:
    """Print the metrics: as a report, or as one JSON object."""
    if as_json:
        figures = {name: value if math.isfinite(value) else None for name, value in evaluation.metrics.items()}
        print(json.dumps(figures))
    else:
        print_report(evaluation, subject, labels)


for _name, _help in (
    ("classify", "a text classifier (columns: text, label)."),
    ("entail", "an entailment classifier (columns: premise, hypothesis, label)."),
    ("similarity", "a text similarity model (columns: sentence1, sentence2, label; numbers are scores)."),
    ("choice", "a multiple-choice model (columns: context, choice1, choice2, ..., label from 0)."),
):
    add_task_commands(_name, _help)
