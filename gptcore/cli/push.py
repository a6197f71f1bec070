"""``gptcore push``: upload a checkpoint folder to the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gptcore.checkpoint.opening import open_checkpoint
from gptcore.cli.convert import AllowPickle
from gptcore.convert.push import push_checkpoint


def push_command(
    folder: Annotated[Path, typer.Argument(help="A checkpoint folder.", exists=True, file_okay=False)],
    repo_id: Annotated[str, typer.Argument(help="owner/name on the hub; created if missing.")],
    private: Annotated[bool | None, typer.Option("--private/--public", help="Visibility of a new repository.")] = None,
    message: Annotated[str | None, typer.Option(help="Commit message.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch; created if missing.")] = None,
    allow_pickle: AllowPickle = False,
) -> None:
    """Check a checkpoint and upload it to the hub in one commit, with the token of 'hf auth login'."""
    checkpoint = open_checkpoint(folder, allow_pickle=allow_pickle)
    print(push_checkpoint(checkpoint, repo_id, private=private, commit_message=message, revision=revision))
