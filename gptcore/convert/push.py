"""Upload of checkpoints to the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gptcore.checkpoint.containers.reading import resolve_inside
from gptcore.checkpoint.formats import FORMATS
from gptcore.checkpoint.formats.safetensors import SAFETENSORS
from gptcore.checkpoint.opening import Checkpoint, open_checkpoint, other_files, source_folder
from gptcore.convert.card import card_of
from gptcore.errors import CheckpointError
from gptcore.spec.config import CONFIG_NAME
from gptcore.storage import hub
from gptcore.storage.cards import CARD_NAME, is_own


class Pushable:
    """The base class of all models that provides ``push_to_hub``."""

    save_pretrained: Callable[..., None]

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        commit_message: str | None = None,
        revision: str | None = None,
        max_shard_size: int | str | None = None,
    ) -> str:
        """Save the model and upload it to a repository on the hub in one commit.

        A model card is generated, unless the repository has a hand-written one.

        Args:
            repo_id: ``owner/name``, or ``name`` for one of your own repositories; created if missing.
            token: Access token with write access. Default: the stored one.
            private: Whether a newly created repository is private. Default: the owner's default.
            commit_message: The commit message. Default: ``Upload`` and the class name.
            revision: A branch, created if missing. Default: the main branch.
            max_shard_size: Maximum size of a file, as in ``save_pretrained``. Default: one file.

        Returns:
            The URL of the commit.

        Raises:
            ConfigError: The token is invalid.
            StorageError: The repository id is invalid, or the hub cannot be reached or refused the request. No file of
                the repository is changed, but a new repository or branch may remain. If the response to the commit was
                lost, pushing again is safe.
        """
        with hub.temporary_folder() as folder:
            self.save_pretrained(folder, max_shard_size=max_shard_size)
            return push_checkpoint(
                open_checkpoint(folder),
                repo_id,
                token=token,
                private=private,
                commit_message=commit_message,
                revision=revision,
            )


def push_checkpoint(
    checkpoint: Checkpoint,
    repo_id: str,
    *,
    token: str | bool | None = None,
    private: bool | None = None,
    commit_message: str | None = None,
    revision: str | None = None,
) -> str:
    """Upload the config, weights, tokenizer and model card of a checkpoint to the hub.

    Older weights of the repository in the same format are deleted in the same commit. A generated ``README.md`` never
    replaces a hand-written one.

    Args:
        checkpoint: The result of ``open_checkpoint``.
        commit_message: The commit message. Default: ``Upload`` and the class name.
        repo_id, token, private, revision: As in ``gptcore.storage.hub.push``.

    Returns:
        The URL of the commit.

    Raises:
        CheckpointError: The checkpoint lacks a parameter, has no weights file in a format that can be loaded from the
            hub, or has a file that points outside its folder.
        ConfigError, StorageError: As in ``gptcore.storage.hub.push``.
    """
    if checkpoint.matching.missing:
        lacking = ", ".join(parameter.name for parameter in checkpoint.matching.missing)
        raise CheckpointError(f"cannot push {checkpoint.path}: it lacks {lacking}.")
    folder = source_folder(checkpoint)
    names = sorted(path.name for path in folder.iterdir())
    weights = [name for form in FORMATS.values() if not form.is_directory for name in form.files(names)]
    if not weights:
        raise CheckpointError(
            f"cannot push {folder}: it has no weights file that can be loaded from the hub, such as "
            f"{SAFETENSORS.file_name}. Convert the checkpoint first: gptcore convert {checkpoint.path} OUTPUT "
            f"--to {SAFETENSORS.name}"
        )
    uploaded = [*weights, *other_files(folder), *([CONFIG_NAME] if CONFIG_NAME in names else [])]
    files = {name: resolve_inside(folder, name) for name in uploaded}

    def replaced(old: Sequence[str]) -> list[str]:
        return [name for form in FORMATS.values() if form.files(files) for name in form.files(old)]

    card = None
    if not is_own(folder / CARD_NAME):
        generated = files.pop(CARD_NAME, None)  # by the conversion that it describes
        card = generated.read_text(encoding="utf-8") if generated else card_of(checkpoint)
    return hub.push(
        files,
        repo_id,
        commit_message=commit_message or f"Upload {checkpoint.head.architecture}",
        token=token,
        private=private,
        revision=revision,
        replaces=replaced,
        card=card,
    )
