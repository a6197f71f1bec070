"""``gptcore inspect``: the content of a checkpoint, and its problems."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.folder import read_tensors
from gptcore.checkpoint.layouts.published import TIED_HEAD
from gptcore.checkpoint.matching import match
from gptcore.checkpoint.opening import OTHER_FILES, containers, head_of
from gptcore.checkpoint.pretrained import files_to_load
from gptcore.checkpoint.stored_config import config_of
from gptcore.checkpoint.tensors import StoredTensor
from gptcore.errors import GPTError
from gptcore.spec.config import ConfigOptions
from gptcore.spec.parameters import Head, parameters
from gptcore.storage import hub


def describe(
    path_or_repo_id: str | Path, *, allow_pickle: bool = False, **options: Unpack[ConfigOptions]
) -> Mapping[str, Any]:
    """Describe a checkpoint, ready for JSON: its model class, config, tensors and problems.

    ``loads`` lists, for each model class, the parameters that would be new and the tensors that would not be used.
    """
    location, overrides = hub.split_options(options)
    path = Path(path_or_repo_id)
    if not path.is_file():
        path = hub.resolve(path_or_repo_id, files_to_load(allow_pickle, *OTHER_FILES), **location)
    tensors = read_tensors(path, allow_pickle=allow_pickle)
    problems: list[str] = []
    loads: dict[str, Any] = {}
    config, head = None, None
    try:
        config = config_of(path, tensors, **overrides)
        head = head_of({tensor.parameter for tensor in tensors}, config)
        for other in Head:
            matching = match(tensors, config, other)
            loads[other.architecture] = {
                "fresh": [parameter.name for parameter in matching.missing],
                "left_aside": sorted(matching.dropped),
            }
    except GPTError as error:
        problems.append(str(error))
    names = {tensor.parameter for tensor in tensors}
    return {
        "path": str(path),
        "formats": containers(tensors),
        "files": sorted({path.name for tensor in tensors for path in _files(tensor)}),
        "model": head.architecture if head else None,
        "config": config.to_dict() if config else None,
        "parameters": sum(p.size for p in parameters(config, head).values()) if config and head else None,
        "bytes": sum(_size(tensor) for tensor in tensors),
        "tied_head_stored": TIED_HEAD in names,
        "tensors": [
            {"name": t.name, "parameter": t.parameter, "dtype": t.dtype, "shape": list(t.shape), "bytes": _size(t)}
            for t in tensors
        ],
        "loads": loads,
        "problems": problems,
    }


def _files(tensor: StoredTensor) -> list[Path]:
    """The files of a tensor, or the directory of a format that stores tensors in a directory."""
    return [tensor.path] if tensor.path.is_dir() else [region.path for region in tensor.regions]


def _size(tensor: StoredTensor) -> int:
    return sum(region.count for region in tensor.regions) * (
        STORAGE[tensor.dtype].itemsize if tensor.dtype in STORAGE else 1
    )
