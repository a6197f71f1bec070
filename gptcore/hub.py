"""From a path or a repository id to a local folder, with ``huggingface_hub``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from gptcore.errors import CheckpointError

LOCATION_OPTIONS = ("revision", "cache_dir", "local_files_only", "token")
REPO_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
SHA256 = re.compile(r"[0-9a-f]{64}")

Choose = Callable[[Sequence[str]], Sequence[str]]
"""Which of the files of a repository are wanted."""


def split_options(options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide keyword arguments into those that say where a checkpoint is and all others.

    >>> split_options({"revision": "main", "n_layer": 2})
    ({'revision': 'main'}, {'n_layer': 2})
    """
    location = {name: options[name] for name in LOCATION_OPTIONS if name in options}
    return location, {name: value for name, value in options.items() if name not in location}


def named(*patterns: str) -> Choose:
    """Choose the files with these names (with ``*`` and ``?``).

    >>> named("config.json", "*.txt")(["config.json", "model.bin", "merges.txt"])
    ['config.json', 'merges.txt']
    """
    return lambda names: [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]


def resolve(
    path_or_repo_id: str | Path,
    choose: Choose,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    token: str | bool | None = None,
) -> Path:
    """The local folder of a checkpoint; a folder that exists is taken as it is, without any network call.

    Args:
        path_or_repo_id: a folder, or ``owner/name`` on the hub.
        choose: picks the files that are wanted from the names of those that the repository has.
        revision: branch, tag or commit on the hub.
        cache_dir: where downloads are kept; the hub's own default if ``None``.
        local_files_only: never use the network.
        token: access token, or ``True`` for the stored one.

    Raises:
        CheckpointError: there is no such folder and it is no repository id, or the hub did not give the files; what is
            in the cache already is used where the hub cannot be reached.
    """
    folder = Path(path_or_repo_id)
    if folder.is_dir():
        return folder
    repo_id = str(path_or_repo_id)
    if not REPO_ID.fullmatch(repo_id) or folder.exists():
        raise CheckpointError(f"{repo_id!r} is neither a folder nor a repository id such as 'owner/name'")
    import huggingface_hub  # slow to import, and not needed for a local folder

    cache: dict[str, Any] = {"cache_dir": cache_dir, "token": token}
    try:
        if local_files_only:
            return _cached(repo_id, revision, cache)
        try:
            info = huggingface_hub.HfApi(token=token).model_info(repo_id, revision=revision)
        except Exception as cause:
            if _status(cause) in (401, 403, 404):
                raise
            return _cached_instead(repo_id, revision, cache, cause)
        names = [sibling.rfilename for sibling in info.siblings or []]
        wanted = choose([name for name in names if "/" not in name])
        files = [_download(repo_id, name, revision, cache) for name in wanted]
    except CheckpointError:
        raise
    except Exception as cause:  # the hub client raises a dozen unrelated types
        raise CheckpointError(
            f"{repo_id!r} is not a local folder, and the hub did not give it: {_reason(cause)}"
        ) from cause
    if not files:
        raise CheckpointError(
            f"{repo_id!r} has none of the files that are wanted, but {', '.join(names[:20]) or 'none'}"
        )
    if len({path.parent for path in files}) > 1:
        raise CheckpointError(f"{repo_id!r} was changed while it was fetched; try again")
    return files[0].parent


def _download(repo_id: str, name: str, revision: str | None, cache: dict[str, Any]) -> Path:
    """A file of a repository, from the cache or the hub; what is fetched must have the hash that the hub names."""
    import huggingface_hub

    known = huggingface_hub.try_to_load_from_cache(repo_id, name, cache["cache_dir"], revision)
    path = Path(huggingface_hub.hf_hub_download(repo_id, name, revision=revision, **cache))
    blob = path.resolve()
    is_new = not isinstance(known, str) or Path(known).resolve() != blob
    if is_new and SHA256.fullmatch(blob.name):  # large files are named by their hash
        with blob.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != blob.name:
            path.unlink(missing_ok=True)
            blob.unlink(missing_ok=True)
            raise CheckpointError(f"{repo_id!r}: {name} came with another hash than the hub names; try again")
    return path


def _cached(repo_id: str, revision: str | None, cache: dict[str, Any]) -> Path:
    import huggingface_hub

    return Path(
        huggingface_hub.snapshot_download(
            repo_id, revision=revision, local_files_only=True, allow_patterns=["config.json"], **cache
        )
    )


def _cached_instead(repo_id: str, revision: str | None, cache: dict[str, Any], cause: Exception) -> Path:
    """What an earlier call has left in the cache; without it, the reason why the hub was not reached."""
    try:
        return _cached(repo_id, revision, cache)
    except Exception:
        raise cause from None


def _status(error: BaseException) -> int | None:
    """The HTTP status in an error of the hub client, if there is one."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _reason(error: Exception) -> str:
    """What went wrong and what to do, in one line and without the token."""
    status = _status(error)
    advice = {
        401: "the hub wants a valid token (401); log in with 'hf auth login' or pass token=",
        403: "this token may not read it (403); ask for access on its page",
        404: "no such repository or revision, or it is private (404); check the name, or pass token=",
        429: "too many requests (429); wait a minute and try again",
    }
    first_line = (str(error).strip().splitlines() or [""])[0]
    if status in advice:
        return advice[status]
    if status is not None and status >= 500:
        return f"the hub has trouble ({status}); try again later"
    return f"{type(error).__name__}: {first_line}"
