"""The commands, one file each."""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer
import typer.core
from rich.console import Console
from rich.markup import escape

from gptcore.cli.convert import convert_command, inspect_command
from gptcore.cli.demo import demo_command
from gptcore.cli.generate import generate_command
from gptcore.cli.predict import predict_command
from gptcore.cli.push import push_command
from gptcore.cli.settings import examples
from gptcore.cli.tokenize import tokenize_command
from gptcore.cli.tokenizer import tokenizer_application
from gptcore.cli.train import eval_application, train_application
from gptcore.cli.verify import verify_command
from gptcore.errors import GPTError
from gptcore.release import __version__


class Group(typer.core.TyperGroup):
    """All commands; Ctrl-C ends each of them with one line and the exit status of a process that SIGINT ended."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            raise typer.Exit(128 + signal.SIGINT) from None


application = typer.Typer(
    name="gptcore",
    cls=Group,
    help="OpenAI GPT in PyTorch, Keras/TensorFlow and Flax/JAX.",
    epilog=examples("gptcore demo", 'gptcore generate "The dog" --seed 1', "gptcore train --help"),
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "demo": (demo_command, examples('gptcore demo "The dog" --max-new-tokens 40')),
    "verify": (
        verify_command,
        examples("gptcore verify", "gptcore verify runs/reviews --backend torch"),
    ),
    "convert": (convert_command, examples("gptcore convert runs/reviews reviews-keras --to keras --dtype float16")),
    "inspect": (inspect_command, examples("gptcore inspect runs/reviews")),
    "push": (push_command, examples("gptcore push runs/reviews/last owner/reviews --private")),
    "generate": (
        generate_command,
        examples(
            'gptcore generate "The dog" --seed 1',
            'gptcore generate "The dog" --greedy --backend flax',
            "gptcore generate --file prompts.txt --max-new-tokens 20 > answers.jsonl",
        ),
    ),
    "predict": (
        predict_command,
        examples(
            "gptcore predict classify reviews.jsonl --model runs/reviews",
            'gptcore predict classify --text "a warm and funny film" --model runs/reviews',
        ),
    ),
    "tokenize": (
        tokenize_command,
        examples('gptcore tokenize --text "The dog sat."', "gptcore tokenize story.txt --format ids"),
    ),
}
"""Name -> function and the last lines of its help."""

for name, (command, epilog) in COMMANDS.items():
    application.command(name, epilog=epilog)(command)
application.add_typer(tokenizer_application, name="tokenizer")
application.add_typer(train_application, name="train")
application.add_typer(eval_application, name="eval")


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"gptcore {__version__}")
        raise typer.Exit


@application.callback()
def _group(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """OpenAI GPT in PyTorch, Keras/TensorFlow and Flax/JAX: the same numbers from one checkpoint."""


def app() -> None:
    """Run a command; a ``GPTError`` becomes one message and exit status 2, without a stack trace."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # no start-up messages of TensorFlow
    if isinstance(sys.stdout, io.TextIOWrapper):  # escape characters that its encoding lacks, as stderr does
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        application()
    except GPTError as error:
        _fail(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        _fail(f"cannot use {error.filename}: {error.strerror}. Choose another path.")


def _fail(message: str) -> NoReturn:
    Console(stderr=True).print(f"[red]error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(2)
