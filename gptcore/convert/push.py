"""A checkpoint to a repository of the hub."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gptcore.checkpoint.folder import resolve_inside
from gptcore.checkpoint.formats import FORMATS, openai_npy
from gptcore.checkpoint.opening import Checkpoint, open_checkpoint, other_files, source_folder
from gptcore.convert.card import card_of
from gptcore.errors import CheckpointError
from gptcore.spec.config import CONFIG_NAME
from gptcore.storage import hub
from gptcore.storage.cards import CARD_NAME, is_own


class Pushable:
    """What the models of all frameworks inherit: ``push_to_hub``."""

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
        """Save the model and send it to a repository of the hub, in one commit.

        Args:
            repo_id: ``owner/name``, or ``name`` among your own; made if there is none.
            token: access token that may write; the stored one if ``None``.
            private: whether a repository that is made is private; the owner's default if ``None``.
            commit_message: what the history shows; ``Upload`` and the class if ``None``.
            revision: a branch, made if there is none; the main one if ``None``.
            max_shard_size: as in ``save_pretrained``.

        Returns:
            The URL of the commit. It has a model card, unless somebody wrote the one that is there.

        Raises:
            CheckpointError: the hub was not reached or refused; no file of the repository is another.
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
    """Send what a checkpoint's folder holds of a model to the hub: config, weights, tokenizer and card.

    As in a save over an older checkpoint, weights in the same format that are not written again go, in the same commit.
    A ``README.md`` that somebody wrote, here or there, is never replaced by one that is made.

    Args:
        checkpoint: of ``open_checkpoint``.
        commit_message: default: ``Upload`` and the class.
        repo_id, token, private, revision: as in ``gptcore.storage.hub.push``.

    Returns:
        The URL of the commit.

    Raises:
        CheckpointError: the checkpoint lacks a parameter, a file leads outside its folder, or see
            ``gptcore.storage.hub.push``.
    """
    if checkpoint.matching.missing:
        lacking = ", ".join(parameter.name for parameter in checkpoint.matching.missing)
        raise CheckpointError(f"cannot push {checkpoint.path}: it lacks {lacking}.")
    folder = source_folder(checkpoint)
    names = sorted(path.name for path in folder.iterdir())
    weights = [name for form in FORMATS.values() if not form.is_directory for name in form.files(names)]
    weights += [name for name in (openai_npy.SHAPES_NAME, *openai_npy.FILES) if name in names]
    if not weights:
        raise CheckpointError(
            f"cannot push {folder}: the hub has no loader for Orbax. Convert the checkpoint first: "
            f"gptcore convert {folder} OUTPUT --to safetensors"
        )
    ours = [*weights, *other_files(folder), *([CONFIG_NAME] if CONFIG_NAME in names else [])]
    files = {name: resolve_inside(folder, name) for name in ours}

    def replaced(old: Sequence[str]) -> list[str]:
        return [name for form in FORMATS.values() if form.files(files) for name in form.files(old)]

    made = None
    if not is_own(folder / CARD_NAME):
        kept = files.pop(CARD_NAME, None)  # of a conversion, and tells of it
        made = kept.read_text(encoding="utf-8") if kept else card_of(checkpoint)
    return hub.push(
        files,
        repo_id,
        commit_message=commit_message or f"Upload {checkpoint.head.architecture}",
        token=token,
        private=private,
        revision=revision,
        replaces=replaced,
        card=made,
    )
