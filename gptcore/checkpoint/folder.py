"""A checkpoint folder in the published layout: ``config.json`` beside one safetensors file or several shards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptcore.checkpoint.atomic import atomic_write, sync_folder
from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.safetensors_file import OutgoingTensor, StoredTensor, read_header, write
from gptcore.errors import CheckpointError, bullet_list

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
MAX_INDEX_BYTES = 16 << 20
METADATA = {"format": "pt"}  # transformers refuses a file without it


def read_tensors(folder: Path) -> list[StoredTensor]:
    """All tensors of a folder, from the single file or from every shard that the index names.

    Raises:
        CheckpointError: no weights, or index and shards disagree, or a shard lies outside the folder.
    """
    if (folder / WEIGHTS_NAME).exists():
        return read_header(resolve_inside(folder, WEIGHTS_NAME))
    if (folder / INDEX_NAME).exists():
        return _read_shards(folder)
    raise CheckpointError(f"{folder} has neither {WEIGHTS_NAME} nor {INDEX_NAME}")


def write_tensors(folder: Path, tensors: Sequence[OutgoingTensor], max_shard_size: int | str | None = None) -> None:
    """Write the weights into ``folder``, in one file or in shards of at most ``max_shard_size`` bytes (``"2GB"``)."""
    shards = split_into_shards(tensors, max_shard_size)
    if len(shards) == 1:
        write(folder / WEIGHTS_NAME, shards[0], METADATA)
        (folder / INDEX_NAME).unlink(missing_ok=True)
    else:
        names = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
        for name, shard in zip(names, shards, strict=True):
            write(folder / name, shard, METADATA)
        index = {
            "metadata": {"total_size": sum(size_of(tensor) for tensor in tensors)},
            "weight_map": {t.name: name for name, shard in zip(names, shards, strict=True) for t in shard},
        }
        with atomic_write(folder / INDEX_NAME) as file:
            file.write(json.dumps(index, indent=2, sort_keys=True).encode() + b"\n")
        (folder / WEIGHTS_NAME).unlink(missing_ok=True)
    _remove_stale_shards(folder, len(shards))
    sync_folder(folder)


def size_of(tensor: OutgoingTensor) -> int:
    """Bytes that a tensor takes in a file."""
    return int(tensor.array.size) * STORAGE[tensor.dtype].itemsize


def split_into_shards(
    tensors: Sequence[OutgoingTensor], max_shard_size: int | str | None
) -> list[list[OutgoingTensor]]:
    """Fill shards in order; a tensor above the limit gets a shard of its own."""
    limit = parse_size(max_shard_size)
    shards: list[list[OutgoingTensor]] = [[]]
    room = limit
    for tensor in tensors:
        if shards[-1] and size_of(tensor) > room:
            shards.append([])
            room = limit
        shards[-1].append(tensor)
        room -= size_of(tensor)
    return shards


def parse_size(size: int | str | None) -> float:
    """Bytes of ``"5GB"``, ``"300MiB"``, an integer, or no limit for ``None``.

    >>> parse_size("2KB"), parse_size("2KiB"), parse_size(7)
    (2000.0, 2048.0, 7.0)
    """
    if size is None:
        return float("inf")
    units = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9, "": 1}
    text = str(size).strip().upper()
    unit = next(unit for unit in units if text.endswith(unit))
    number = text.removesuffix(unit).strip()
    if not number.isdecimal() or int(number) == 0:
        raise CheckpointError(f"max_shard_size={size!r} must be a positive number of bytes, or like '500MB' or '2GiB'")
    return float(int(number) * units[unit])


def resolve_inside(folder: Path, name: Any) -> Path:
    """The file ``name`` of ``folder``, only if it is a plain name that lies there after following links.

    The hub's cache keeps ``snapshots/REVISION/NAME`` as links into ``blobs`` beside it: allowed, and nothing else is.
    """
    if not isinstance(name, str) or name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise CheckpointError(f"{folder / INDEX_NAME}: shard {name!r} is not a plain file name")
    root = folder.resolve()
    path = (root / name).resolve()
    allowed = {root}
    if root.parent.name == "snapshots":
        allowed.add(root.parent.parent / "blobs")
    if path.parent not in allowed:
        raise CheckpointError(f"{folder / name} leads outside the folder, to {path}; refused")
    if not path.is_file():
        raise CheckpointError(f"{folder / name} is missing or not a regular file")
    return path


def _read_shards(folder: Path) -> list[StoredTensor]:
    weight_map = _read_index(folder / INDEX_NAME)
    shards = {name: read_header(resolve_inside(folder, name)) for name in dict.fromkeys(weight_map.values())}
    found = [(tensor, name) for name, tensors in shards.items() for tensor in tensors]
    problems = [
        f"{tensor.name!r} is in {name}, but the index places it in {weight_map.get(tensor.name)}"
        for tensor, name in found
        if weight_map.get(tensor.name) != name
    ]
    held = {(tensor.name, name) for tensor, name in found}
    problems += [
        f"{t!r} is not in {name}, where the index places it" for t, name in weight_map.items() if (t, name) not in held
    ]
    if problems:
        raise CheckpointError(f"{folder / INDEX_NAME} and its shards disagree:\n" + bullet_list(problems))
    return [tensor for tensor, _ in found]


def _read_index(path: Path) -> dict[str, str]:
    try:
        resolved = resolve_inside(path.parent, path.name)
        if resolved.stat().st_size > MAX_INDEX_BYTES:
            raise CheckpointError(f"{path} has more than {MAX_INDEX_BYTES} bytes")
        weight_map = json.loads(resolved.read_text(encoding="utf-8"))["weight_map"]
    except OSError as cause:
        raise CheckpointError(f"cannot read {path}: {cause.strerror}") from cause
    except CheckpointError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as cause:
        raise CheckpointError(f"{path} is not a shard index: {type(cause).__name__}: {cause}") from cause
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(f"{path}: weight_map must map tensor names to file names")
    return weight_map


def _remove_stale_shards(folder: Path, count: int) -> None:
    """Shards of an earlier save with another count would never be read again."""
    for path in folder.glob("model-?????-of-?????.safetensors"):
        if count == 1 or not path.stem.endswith(f"-of-{count:05d}"):
            path.unlink()
