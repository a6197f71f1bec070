"""Weights in several files, the shards, and the index that maps each tensor to its file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from gptcore.checkpoint.containers.reading import resolve_inside
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.errors import CheckpointError, ConfigError, bullet_list

MAX_INDEX_BYTES = 16 << 20


def split_into_shards(
    tensors: Sequence[OutgoingTensor], max_shard_size: int | str | None
) -> list[list[OutgoingTensor]]:
    """Fill shards in order; a tensor above the limit gets its own shard."""
    limit = parse_size(max_shard_size)
    shards: list[list[OutgoingTensor]] = [[]]
    room = limit
    for tensor in tensors:
        if shards[-1] and tensor.size > room:
            shards.append([])
            room = limit
        shards[-1].append(tensor)
        room -= tensor.size
    return shards


def parse_size(size: int | str | None) -> float:
    """The number of bytes of ``"5GB"``, ``"300MiB"`` or an integer; infinite for ``None``.

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
        raise ConfigError(
            f"max_shard_size must be a positive number of bytes, or a string such as '500MB' or '2GiB'; got {size!r}."
        )
    return float(int(number) * units[unit])


def write_index(file: BinaryIO, shards: Mapping[str, Sequence[OutgoingTensor]]) -> None:
    """Write the index of shards by file name."""
    index = {
        "metadata": {"total_size": sum(tensor.size for shard in shards.values() for tensor in shard)},
        "weight_map": {tensor.name: name for name, shard in shards.items() for tensor in shard},
    }
    file.write(json.dumps(index, indent=2, sort_keys=True).encode() + b"\n")


def read_shards(folder: Path, index_name: str, read_file: Callable[[Path], list[StoredTensor]]) -> list[StoredTensor]:
    """The tensors of all shards, which must be exactly those of the index."""
    weight_map = _read_index(folder, index_name)
    shards = {name: resolve_inside(folder, name) for name in dict.fromkeys(weight_map.values())}
    placed = [(tensor, name) for name, path in shards.items() for tensor in read_file(path)]
    problems = [
        f"{tensor.name!r} is in {name}, but the index "
        + (f"places it in {weight_map[tensor.name]}" if tensor.name in weight_map else "does not list it")
        for tensor, name in placed
        if weight_map.get(tensor.name) != name
    ]
    places = {(tensor.name, name) for tensor, name in placed}
    problems += [
        f"{t!r} is not in {name}, where the index places it"
        for t, name in weight_map.items()
        if (t, name) not in places
    ]
    if problems:
        raise CheckpointError(f"{folder / index_name} and its shards disagree:\n" + bullet_list(problems))
    return [tensor for tensor, _ in placed]


def _read_index(folder: Path, name: str) -> dict[str, str]:
    path = folder / name
    try:
        resolved = resolve_inside(folder, name)
        if resolved.stat().st_size > MAX_INDEX_BYTES:
            raise CheckpointError(f"{path} must have at most {MAX_INDEX_BYTES:,} bytes.")
        weight_map = json.loads(resolved.read_bytes())["weight_map"]
    except OSError as cause:
        raise CheckpointError(f"cannot read {path}: {cause.strerror}") from cause
    except CheckpointError:
        raise
    except (ValueError, KeyError, TypeError, RecursionError) as cause:
        raise CheckpointError(f"{path} is not a shard index: {type(cause).__name__}: {cause}") from cause
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise CheckpointError(f"{path}: weight_map must map tensor names to file names")
    return weight_map
