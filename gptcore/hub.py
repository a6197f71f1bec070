"""From a path or a repository id to a local folder, with ``huggingface_hub``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptcore.errors import CheckpointError

LOCATION_OPTIONS = ("revision", "cache_dir", "local_files_only", "token")
REPO_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def split_options(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide keyword arguments into those that say where a checkpoint is and all others.

    >>> split_options({"revision": "main", "n_layer": 2})
    ({'revision': 'main'}, {'n_layer': 2})
    """
    location = {name: options[name] for name in LOCATION_OPTIONS if name in options}
    return location, {name: value for name, value in options.items() if name not in location}


def resolve(
    path_or_repo_id: str | Path,
    files: Sequence[str],
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """The local folder of a checkpoint; a folder that exists is taken as it is, without any network call.

    Args:
        path_or_repo_id: a folder, or ``owner/name`` on the hub.
        files: names (with ``*``) of the files that are wanted from the hub.
        revision: branch, tag or commit on the hub.
        cache_dir: where downloads are kept; the hub's own default if ``None``.
        local_files_only: never use the network.
        token: access token, or ``True`` for the stored one.

    Raises:
        CheckpointError: there is no such folder and it is no repository id, or the hub did not give the files.
    """
    folder = Path(path_or_repo_id)
    if folder.is_dir():
        return folder
    if not REPO_ID.fullmatch(str(path_or_repo_id)) or folder.exists():
        raise CheckpointError(f"{str(path_or_repo_id)!r} is neither a folder nor a repository id such as 'owner/name'")
    import huggingface_hub  # slow to import, and not needed for a local folder

    try:
        snapshot = huggingface_hub.snapshot_download(
            str(path_or_repo_id),
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
            allow_patterns=list(files),
        )
    except Exception as cause:  # the hub client raises a dozen unrelated types
        raise CheckpointError(
            f"{str(path_or_repo_id)!r} is not a local folder, and the hub did not give it: "
            f"{type(cause).__name__}: {str(cause).strip().splitlines()[0] if str(cause) else ''}"
        ) from cause
    return Path(snapshot)
