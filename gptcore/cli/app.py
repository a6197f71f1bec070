"""The commands, one file each."""

from __future__ import annotations

import os
import sys

import typer
from rich.console import Console
from rich.markup import escape

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
    name="gptcore", help="OpenAI GPT in PyTorch, Keras/TensorFlow and Flax/JAX.", no_args_is_help=True
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


@application.callback()
def _group() -> None:
    """OpenAI GPT in PyTorch, Keras/TensorFlow and Flax/JAX: the same numbers from one checkpoint."""


def app() -> None:
    """Run a command; errors of the user's making are one message and exit status 2, not a stack trace."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow greets on standard error
    try:
        application()
    except GPTError as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
