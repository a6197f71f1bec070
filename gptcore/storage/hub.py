"""Resolve a path or a repository id to a local folder, and push files to a repository, with ``huggingface_hub``."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, TypedDict

from gptcore.errors import ConfigError, StorageError
from gptcore.idioms import LOCATING, without_idioms
from gptcore.storage.cards import CARD_NAME, is_own, relocated

REPO_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
SHA256 = re.compile(r"[0-9a-f]{64}")
TOKEN = re.compile(r"[!-~]+")
HTTP_CLIENT = re.compile("httpx|httpcore|requests|urllib3")  # the modules whose errors are the network's

BOTH_WAYS = {
    401: "the hub needs a valid token (401). Log in with 'hf auth login', or pass token=...",
    429: "too many requests (429). Wait a minute and try again.",
}
READING = BOTH_WAYS | {
    403: "your token has no access to this repository (403). Request access on its page.",
    404: "no such repository or revision, or it is private (404). Check the name, or pass token=...",
}
CONFLICT = "the repository was changed by another commit at the same time ({}). Try again."
WRITING = BOTH_WAYS | {
    403: "your token has no write access (403). Use a token with write access, or check the owner's name.",
    404: "no such repository or revision, or your token has no access to it (404). Check the name and the token.",
    409: CONFLICT.format(409),
    412: CONFLICT.format(412),
}

LAST, CONFIG_FILE = "last", "config.json"  # in the folder of a run, and in the folder of a model


class Location(TypedDict, total=False):
    """Where files are, as keywords of ``resolve``."""

    revision: str | None
    cache_dir: str | Path | None
    local_files_only: bool
    token: str | bool | None


Choose = Callable[[Sequence[str]], Sequence[str]]
"""A function that selects names from the file names of a repository."""


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split keyword arguments into those that locate a checkpoint and all others.

    Raises:
        ConfigError: An option of transformers has no counterpart; the error says what to do instead.

    >>> split_options({"revision": "main", "n_layer": 2})
    ({'revision': 'main'}, {'n_layer': 2})
    """
    options = without_idioms(options, LOCATING)
    location = {name: options[name] for name in Location.__annotations__ if name in options}
    return location, {name: value for name, value in options.items() if name not in location}


def named(*patterns: str) -> Choose:
    """Return a function that selects the files with these names, which may contain ``*`` and ``?``.

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
    """Return the local folder of a checkpoint, downloading it if necessary; existing folders need no network.

    Without a connection, cached files are used.

    Args:
        path_or_repo_id: A folder, or ``owner/name`` on the hub. For the folder of a run, its last checkpoint is used.
        choose: Function that selects the files to download from the names in the repository.
        revision: Branch, tag or commit on the hub. Default: the main branch.
        cache_dir: Folder for downloads. Default: the hub's default.
        local_files_only: Whether to never use the network. Default: false.
        token: Access token; ``True`` requires the stored one. Default: the stored one, if there is one.

    Raises:
        StorageError: There is no such folder, and the name is not a repository id or cannot be downloaded.
        ConfigError: The name is not a string or a path, or the token is invalid.
    """
    if not isinstance(path_or_repo_id, (str, Path)):
        kind = type(path_or_repo_id).__name__
        raise ConfigError(f"the path or repository id of a model or tokenizer must be a string or a path; got {kind}.")
    folder = Path(path_or_repo_id)
    if folder.is_dir():
        last = folder / LAST
        return last if (last / CONFIG_FILE).is_file() and not (folder / CONFIG_FILE).exists() else folder
    repo_id = str(path_or_repo_id)
    if not REPO_ID.fullmatch(repo_id) or folder.exists():
        raise StorageError(f"no folder named {repo_id!r}, and it is not a repository id such as 'owner/name'.")
    _check_token(token)
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
        selected = choose([name for name in names if "/" not in name])
        files = [_download(repo_id, name, revision, cache) for name in selected]
    except StorageError:
        raise
    except Exception as cause:  # the hub client raises a dozen unrelated types
        raise StorageError(
            f"no folder named {repo_id!r}, and the download from the hub failed: {_reason(cause, READING)}"
        ) from cause
    if not files:
        raise StorageError(f"{repo_id!r} has none of the expected files. Its files: {', '.join(names[:20]) or 'none'}.")
    if len({path.parent for path in files}) > 1:
        raise StorageError(f"{repo_id!r} was changed during the download. Try again.")
    return files[0].parent


def push(
    files: Mapping[str, Path],
    repo_id: str,
    *,
    commit_message: str,
    token: str | bool | None = None,
    private: bool | None = None,
    revision: str | None = None,
    replaces: Choose | None = None,
    card: str | None = None,
) -> str:
    """Upload files to a repository on the hub, all in one commit.

    Args:
        files: Name in the repository -> local file.
        repo_id: ``owner/name``, or ``name`` for one of your own repositories; created if missing.
        commit_message: The commit message.
        token: Access token with write access. Default: the stored one.
        private: Whether a newly created repository is private. Default: the owner's default.
        revision: A branch, created if missing. Default: the main branch.
        replaces: Function that selects files of the repository to delete, unless they are uploaded again.
        card: Text of a generated model card, uploaded as ``README.md`` unless the repository has a hand-written one.

    Returns:
        The URL of the commit, or of the last commit if nothing has changed.

    Raises:
        ConfigError: The token is invalid.
        StorageError: The repository id is invalid, or the hub cannot be reached or refused the request. No file of
            the repository is changed, but a new repository or branch may remain. If the response to the commit was
            lost, pushing again is safe.
    """
    if not REPO_ID.fullmatch(repo_id):
        raise StorageError(f"repo_id must be a name such as 'owner/name'; got {repo_id!r}.")
    _check_token(token)
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(token=token)
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(repo_id, branch=revision, exist_ok=True)
        info = api.model_info(repo_id, revision=revision)
        names = [sibling.rfilename for sibling in info.siblings or []]
        gone = replaces(names) if replaces else ()
        operations: list[Any] = [CommitOperationAdd(name, str(path)) for name, path in files.items()]
        operations += [CommitOperationDelete(name) for name in gone if name not in files]
        if card is not None and not (CARD_NAME in names and _has_own_card(api, repo_id, info.sha)):
            operations.append(CommitOperationAdd(CARD_NAME, relocated(card, repo_id).encode()))
        commit = api.create_commit(
            repo_id, operations, commit_message=commit_message, revision=revision, parent_commit=info.sha
        )
    except Exception as cause:  # the hub client raises a dozen unrelated types
        raise StorageError(f"cannot push to {repo_id!r}: {_reason(cause, WRITING)}") from cause
    return str(commit.commit_url)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A temporary folder for files to upload.

    Raises:
        StorageError: The folder cannot be created.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="gptcore-")
    except OSError as cause:
        raise StorageError(
            f"cannot create a temporary folder: {cause.strerror}. Set TMPDIR to a folder on another disk."
        ) from cause
    with folder as path:
        yield Path(path)


def _has_own_card(api: Any, repo_id: str, commit: str | None) -> bool:
    with temporary_folder() as folder:
        return is_own(Path(api.hf_hub_download(repo_id, CARD_NAME, revision=commit, local_dir=folder)))


def _check_token(token: str | bool | None) -> None:
    """Reject a token that is not valid in an HTTP header: the client's error message would show it."""
    if isinstance(token, str) and not TOKEN.fullmatch(token):
        raise ConfigError("token must be non-empty printable ASCII without spaces.")


def _download(repo_id: str, name: str, revision: str | None, cache: dict[str, Any]) -> Path:
    """A file of a repository, from the cache or the hub; a download must have the hash that the hub gives."""
    import huggingface_hub

    known = huggingface_hub.try_to_load_from_cache(repo_id, name, cache["cache_dir"], revision)
    path = Path(huggingface_hub.hf_hub_download(repo_id, name, revision=revision, **cache))
    blob = path.resolve()
    is_new = not isinstance(known, str) or Path(known).resolve() != blob
    if is_new and SHA256.fullmatch(blob.name):  # large files are named by their hash
        with blob.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != blob.name:
            path.unlink(missing_ok=True)
            blob.unlink(missing_ok=True)
            raise StorageError(f"{repo_id!r}: the downloaded {name} does not match the hub's hash. Try again.")
    return path


def _cached(repo_id: str, revision: str | None, cache: dict[str, Any]) -> Path:
    import huggingface_hub

    return Path(
        huggingface_hub.snapshot_download(
            repo_id, revision=revision, local_files_only=True, allow_patterns=["config.json"], **cache
        )
    )


def _cached_instead(repo_id: str, revision: str | None, cache: dict[str, Any], cause: Exception) -> Path:
    """The cached files of an earlier call; without them, raise the error of the connection."""
    try:
        return _cached(repo_id, revision, cache)
    except Exception:
        raise cause from None


def _status(error: BaseException) -> int | None:
    """The HTTP status in an error of the hub client or in what caused it, if there is one."""
    statuses = (getattr(getattr(one, "response", None), "status_code", None) for one in _causes(error))
    return next((status for status in statuses if status is not None), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, then what it was raised from, down to the first."""
    while error is not None:
        yield error
        error = error.__cause__


def _reason(error: Exception, advice: Mapping[int, str]) -> str:
    """Describe an error and what to do about it in one line, without showing the token."""
    status = _status(error)
    if status is not None and status in advice:
        return advice[status]
    if status is not None and status >= 500:
        return f"the hub has a server error ({status}). Try again later."
    causes = list(_causes(error))
    if status is not None:
        message = next((text for one in causes if (text := getattr(one, "server_message", None))), "no reason given")
        return f"the hub refused the request ({status}): {' '.join(message.split())}"
    deepest = [one for one in causes if str(one).strip()][-1:] or [error]
    text = f"{type(deepest[0]).__name__}: {' '.join(str(deepest[0]).split())}"
    if any(HTTP_CLIENT.match(type(one).__module__) for one in causes):
        return f"could not connect, or the connection broke ({text}). Check the network."
    return text
