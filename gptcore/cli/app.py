"""The commands, one file each."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from gptcore import __version__
from gptcore.cli.convert import convert_command, inspect_command
from gptcore.cli.demo import demo_command
from gptcore.cli.generate import generate_command
from gptcore.cli.predict import predict_command
from gptcore.cli.push import push_command
from gptcore.cli.tokenize import tokenize_command
from gptcore.cli.tokenizer import tokenizer_application
from gptcore.cli.train import eval_application, train_application
from gptcore.cli.verify import verify_command
from gptcore.errors import GPTError

application = typer.Typer(
    name="gptcore",
    help="OpenAI GPT in PyTorch, Keras/TensorFlow and Flax/JAX.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
application.command("demo")(demo_command)
application.command("verify")(verify_command)
application.command("convert")(convert_command)
application.command("inspect")(inspect_command)
application.command("push")(push_command)
application.command("generate")(generate_command)
application.command("predict")(predict_command)
application.command("tokenize")(tokenize_command)
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
    """Run a command; errors of the user's making are one message and exit status 2, not a stack trace."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets on standard error
    if isinstance(sys.stdout, io.TextIOWrapper):  # escape what its encoding lacks, as standard error does
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        application()
    except GPTError as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
