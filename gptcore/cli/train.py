"""``gptcore train`` and ``gptcore eval``: the paper's two stages, over any backend."""

from __future__ import annotations

import importlib.util
import json
import math
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gptcore.cli.loading import Device, use_trainers
from gptcore.cli.report import print_report, print_settings
from gptcore.cli.settings import SHIPPED, columns_named, examples, model_named, parse_settings
from gptcore.errors import ConfigError, GPTError
from gptcore.installation import install_command
from gptcore.release import DEFAULT_MODEL
from gptcore.report.curves import draw, plot
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.recipe import FINE_TUNING, PRESETS, Recipe
from gptcore.training import Evaluation, read_log
from gptcore.training.examples import LABEL, class_names
from gptcore.training.fitting import evaluate
from gptcore.training.jobs import Job, columns_of, prepare_lm, prepare_task
from gptcore.training.run import LOG_NAME, Interrupted, Record, check_has_no_run

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
RecipeFile = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        help="A YAML or JSON file of hyperparameters. Those that it omits keep their defaults.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A hyperparameter; overrides the recipe. gptcore train --list-settings lists them.",
    ),
]
Every = Annotated[int | None, typer.Option(min=1, help="Updates between evaluations. Default: only at the end.")]
SaveEvery = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Updates between checkpoints. Default: none. One is also saved at the end, at a better score and at "
        "Ctrl-C.",
    ),
]
Patience = Annotated[int | None, typer.Option(min=1, help="Stop after this many evaluations without improvement.")]
Resume = Annotated[bool, typer.Option(help="Resume from the newest checkpoint in OUTPUT, if there is one.")]
Quiet = Annotated[bool, typer.Option(help="Hide the progress bar and the curve.")]
Columns = Annotated[
    str | None, typer.Option(help="Names of the text columns, separated by commas. Default: those of the task.")
]
Label = Annotated[str, typer.Option(help="Name of the label column.")]
EvalColumns = Annotated[
    str | None,
    typer.Option(help="Names of the text columns, separated by commas. Default: as in training, else the task's."),
]
EvalLabel = Annotated[str | None, typer.Option(help="Name of the label column. Default: as in training, else label.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a report.")]
Header = Annotated[
    str | None,
    typer.Option(help="Names of all columns, separated by commas, for CSV or TSV files without a header line."),
]


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
        list[str] | None,
        typer.Option("--config", metavar="NAME=VALUE", help="A config setting, such as n_layer=4 or resid_pdrop=0."),
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
    merged = merged_recipe(PRESETS[preset].recipe, recipe, settings)
    if tokenizer is None and model is None:
        raise ConfigError(
            'Training from scratch needs --tokenizer. Create one with "gptcore tokenizer train FILES --output words".'
        )
    job = prepare_lm(
        files, output, use_trainers(context, backend, device),
        model=model, tokenizer=tokenizer, config=parse_settings(config or [], "--config"),
        fresh=PRESETS[preset].sizes, column=column, validation=validation, recipe=merged,
        evaluate_every=evaluate_every, save_every=save_every, patience=patience,
    )  # fmt: skip
    start(job, resume=resume, quiet=quiet)


def require_libraries() -> None:
    """Raise a ``GPTError`` now rather than an ``ImportError`` at the end of a run."""
    missing = [name for name in ("sklearn", "matplotlib", "plotext") if importlib.util.find_spec(name) is None]
    if missing:
        raise GPTError(f"Training needs {', '.join(missing)}: {install_command('train')}")


def require_no_run(output: Path, resume: bool) -> None:
    """Raise a ``TrainingError`` if the folder already holds a run, before anything is loaded."""
    if not resume:
        check_has_no_run(output, "Add --resume, or choose another --output.")


def start(job: Job, *, resume: bool, quiet: bool) -> None:
    """Train with a progress bar, and draw the curve beside the log."""
    run, output = job.run, job.output
    console = Console(stderr=True)
    parts = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    is_main, total = run.trainer.is_main, run.total_steps
    if is_main:
        for warning in job.warnings():
            console.print(f"Warning: {warning}", highlight=False, markup=False)
    quiet = quiet or not is_main
    if not quiet:
        tokens = run.batches[0]["input_ids"].size
        console.print(f"{total:,} updates of {tokens:,} tokens, {total * tokens:,} in all", highlight=False)
    bar = Progress(*parts, console=console, disable=quiet)
    shown = bar.add_task("training", total=total)

    def show(record: Record) -> None:
        text = f"loss {record['loss']:.4f}, {record['tokens_per_second']:,.0f} tokens/s"
        bar.update(shown, completed=record["step"] + 1, description=text)
        if not quiet and (evaluation := evaluation_text(record)):
            bar.console.print(f"after {record['step'] + 1:,} updates: {evaluation}", highlight=False)

    def tell(text: str) -> None:
        if is_main:
            console.print(text, highlight=False, markup=False, soft_wrap=True)

    run.listeners.extend([show, *([tensorboard(output)] if is_main else [])])
    try:
        with bar:
            record = job(resume=resume)
    except Interrupted as stop:
        tell(f"Stopped after {stop.step:,} of {total:,} updates, saved in {stop.path}. Add --resume to continue.")
        raise typer.Exit(128 + stop.signal) from None
    except KeyboardInterrupt:
        advice = (
            "Add --resume to continue."
            if run.checkpoints.steps()
            else "Add --resume to start from the beginning in this folder."
        )
        tell(f"Stopped immediately; {run.resumable()}. {advice}")
        raise typer.Exit(128 + signal.SIGINT) from None
    finally:
        log = output / LOG_NAME
        records = read_log(log) if is_main and log.is_file() else []
        if records:
            plot(records, output / "curve.png")
    if not record:
        tell(f"{output} is finished ({run.checkpoints.steps()[-1]:,} of {total:,} updates). Nothing was trained.")
    if is_main:
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


def named(header: str | None) -> list[str] | None:
    """The names in ``--header``."""
    return header.split(",") if header else None


def merged_recipe(stage: Recipe, file: Path | None, settings: Sequence[str] | None) -> Recipe:
    """The recipe of a stage, with the settings of a file and of the command line."""
    base = stage if file is None else Recipe.read(file, stage)
    return base.replace(**parse_settings(settings or [], "--set"))


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
            int | None, typer.Option(min=2, help="Number of choices (task choice only).", show_default="2")
        ] = None,
        recipe: RecipeFile = None,
        settings: Settings = None,
        evaluate_every: Every = None,
        save_every: SaveEvery = None,
        patience: Patience = None,
        resume: Resume = False,
        quiet: Quiet = False,
    ) -> None:
        require_libraries()
        require_no_run(output, resume)
        merged = merged_recipe(FINE_TUNING, recipe, settings)
        job = prepare_task(
            task, files, output, use_trainers(context, backend, device),
            model=model, columns=columns_named(task, columns, choices), label=label, header=named(header),
            validation=validation, recipe=merged,
            evaluate_every=evaluate_every, save_every=save_every, patience=patience,
        )  # fmt: skip
        start(job, resume=resume, quiet=quiet)

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
            int | None,
            typer.Option(
                min=2, help="Number of choices (task choice only). Default: as in training, else 2.", show_default=False
            ),
        ] = None,
        as_json: AsJSON = False,
    ) -> None:
        load_trainer = use_trainers(context, backend, device)
        names = columns_named(task, columns, choices)
        evaluation = evaluate(
            task, files, model, backend=load_trainer, columns=names, label=label, header=named(header)
        )
        labels = class_names(task, OpenAIGPTConfig.from_pretrained(model), names or columns_of(model, task))
        report(evaluation, as_json, f"{task}: {model}, {evaluation.count:,} examples", labels)


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
    load_trainer = use_trainers(context, backend, device)
    evaluation = evaluate("lm", files, model, backend=load_trainer, columns=[column] if column else None, stride=stride)
    report(evaluation, as_json, f"lm: {model_named(model)}, {evaluation.count:,} tokens")


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
    (
        "similarity",
        "a text similarity model (columns: sentence1, sentence2, label). Numbers as labels are scores, others are "
        "classes.",
    ),
    ("choice", "a multiple-choice model (columns: context, choice1, choice2, ..., label from 0)."),
):
    add_task_commands(_name, _help)
