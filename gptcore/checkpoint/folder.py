"""A checkpoint on disk: a folder in one of the formats, or one file of weights."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.formats import FORMATS, Format, canonical, openai_npy
from gptcore.checkpoint.formats.sniffing import READERS, sniff
from gptcore.checkpoint.layouts import canonical_name, openai
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.errors import CheckpointError, ConfigError, bullet_list
from gptcore.spec.config import CONFIG_NAME
from gptcore.spec.parameters import Head, Parameter
from gptcore.storage.transaction import Transaction, is_plain_name, recover

OPENAI = "openai"
WRITABLE = (*FORMATS, OPENAI)
MAX_INDEX_BYTES = 16 << 20
OPENAI_DTYPES = tuple(name for name in STORAGE if name != "bfloat16")  # NumPy has no name for it


def weights_files(names: Sequence[str], allow_pickle: bool) -> list[str]:
    """Select the weights files of a folder, in its first format that may be loaded.

    >>> weights_files(["config.json", "pytorch_model.bin", "model.safetensors"], allow_pickle=False)
    ['model.safetensors']

    Raises:
        CheckpointError: the only format is a pickle, which is not allowed.
    """
    for form, known in FORMATS.items():
        if known.index_name in names or known.file_name in names:
            if form == "pytorch" and not allow_pickle:
                continue
            shards = known.shard_name(1, 1).replace("00001", "?????")
            wanted = (known.file_name,) if known.file_name in names else (str(known.index_name), shards)
            return [name for name in names if any(fnmatch(name, pattern) for pattern in wanted)]
    openai_names = [name for name in names if name in (openai_npy.SHAPES_NAME, *openai_npy.FILES)]
    if openai_names:
        return openai_names
    pickles = FORMATS["pytorch"]
    if pickles.file_name in names or pickles.index_name in names:
        raise CheckpointError(f"the only weights are {pickles.file_name}, a pickle. Pass allow_pickle=True to read it.")
    return []


def read_tensors(path: Path, *, allow_pickle: bool = False, form: str | None = None) -> list[StoredTensor]:
    """Describe all tensors of a checkpoint, with their canonical names, without reading their values.

    Args:
        path: A folder, a weights file, or a directory that Orbax saved; recognised by its content, not by its name.
        allow_pickle: Whether to read files of ``torch.save``. Their code is never executed. Default: false.
        form: The format to load if a folder has several. Default: the first of ``FORMATS``, then OpenAI's.

    Raises:
        CheckpointError: weights are missing or damaged, an index does not match its shards, or a file is outside of
            the folder.
    """
    if not path.is_dir() or sniff(path):
        return _read_file(path, allow_pickle)
    recover(path)
    for name, known in FORMATS.items():
        if form in (None, name) and (path / known.file_name).exists():
            return _read_file(resolve_inside(path, known.file_name), allow_pickle)
        if form in (None, name) and known.index_name and (path / known.index_name).exists():
            return _read_shards(path, known.index_name, allow_pickle)
    if form in (None, OPENAI) and (path / openai_npy.SHAPES_NAME).exists():
        return _read_openai(path)
    names = ", ".join(known.file_name for known in FORMATS.values())
    raise CheckpointError(
        f"{path} has no weights: expected one of {names}, {openai_npy.SHAPES_NAME}, or a shard index."
    )


def write_tensors(
    changes: Transaction,
    tensors: Sequence[tuple[Parameter, OutgoingTensor]],
    head: Head,
    form: str = "safetensors",
    max_shard_size: int | str | None = None,
    provenance: Mapping[str, str] | None = None,
) -> None:
    """Write the weights of a model, in one file or in shards of at most ``max_shard_size`` bytes (``"2GB"``).

    Older files of the same format are removed in the same transaction; other formats are unchanged. ``provenance`` is
    stored in formats that support metadata.

    Raises:
        ConfigError: the format cannot hold such tensors or shards.
        StorageError: the folder cannot be written.
    """
    check_writable(form, {tensor.dtype for _, tensor in tensors}, max_shard_size)
    if form == OPENAI:
        _write_openai(changes, tensors)
        return
    chosen = FORMATS[form]
    named = [tensor.done(*chosen.name_of(parameter, head)) for parameter, tensor in tensors]
    shards = split_into_shards(named, max_shard_size)
    names = [chosen.file_name]
    if len(shards) > 1:
        names = [chosen.shard_name(number, len(shards)) for number in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        with changes.directory(name) if chosen.is_directory else changes.file(name) as target:
            chosen.write(target, shard, provenance or {})
    if len(shards) > 1 and chosen.index_name:
        index = {
            "metadata": {"total_size": sum(tensor.size for tensor in named)},
            "weight_map": {tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard},
        }
        with changes.file(chosen.index_name) as file:
            file.write(json.dumps(index, indent=2, sort_keys=True).encode() + b"\n")
    _remove_stale(changes, chosen)


def check_writable(form: str, dtypes: set[str], max_shard_size: int | str | None) -> None:
    """Raise a ``ConfigError`` if a format does not support the dtypes or shards."""
    if form not in WRITABLE:
        raise ConfigError(f"the format must be one of {', '.join(WRITABLE)}; got {form!r}.")
    allowed = OPENAI_DTYPES if form == OPENAI else FORMATS[form].dtypes
    for dtype in sorted(dtypes - set(allowed)):
        raise ConfigError(f"the dtype of format {form!r} must be one of {', '.join(allowed)}; got {dtype}.")
    if max_shard_size is not None and (form == OPENAI or FORMATS[form].index_name is None):
        raise ConfigError(f"format {form!r} does not support shards. Omit max_shard_size.")


def split_into_shards(
    tensors: Sequence[OutgoingTensor], max_shard_size: int | str | None
) -> list[list[OutgoingTensor]]:
    """Fill shards in order; a tensor above the limit gets a shard of its own."""
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
        raise ConfigError(
            f"max_shard_size must be a positive number of bytes, or a text such as '500MB' or '2GiB'; got {size!r}."
        )
    return float(int(number) * units[unit])


def resolve_inside(folder: Path, name: Any) -> Path:
    """Return the file or directory ``name`` of ``folder``; raises if its name or its links point elsewhere.

    Only links of the hub's cache, from ``snapshots/REVISION/NAME`` into its folder ``blobs``, are allowed.
    """
    if not is_plain_name(name):
        raise CheckpointError(f"{folder}: {name!r} is not a plain file name.")
    root = folder.resolve()
    path: Path = (root / name).resolve()
    allowed = {root}
    if root.parent.name == "snapshots":
        allowed.add(root.parent.parent / "blobs")
    if path.parent not in allowed:
        raise CheckpointError(f"cannot read {folder / name}: it points outside the folder, to {path}.")
    if not path.is_file() and not path.is_dir():
        raise CheckpointError(f"{folder / name} is missing or not a regular file.")
    return path


def folder_of(path: Path) -> Path:
    """The folder of the config and the tokenizer: the path itself, or the folder of a weights file.

    The config of an Orbax directory may be in it or next to it.
    """
    if path.is_dir() and (sniff(path) is None or (path / CONFIG_NAME).is_file()):
        return path
    return path.parent


def _read_file(path: Path, allow_pickle: bool) -> list[StoredTensor]:
    if not path.is_file() and not path.is_dir():
        raise CheckpointError(f"{path} is missing or not a regular file.")
    kind = sniff(path)
    if kind is None:
        known = ", ".join(READERS)
        raise CheckpointError(
            f"{path} is not a recognised weights file ({known}); it may be damaged. Download it again."
        )
    if kind == "pytorch" and path.suffix == ".keras":
        raise CheckpointError(
            f"cannot read {path}: it is a whole Keras model. Load it with keras.saving.load_model, "
            "then call save_pretrained."
        )
    if kind == "pytorch" and not allow_pickle:
        raise CheckpointError(
            f"{path} was written by torch.save and is a pickle. Pass allow_pickle=True to read it (its code is never "
            "executed), or convert it once: gptcore convert SRC DST --to safetensors --allow-pickle"
        )
    return [_named(kind, tensor) for tensor in READERS[kind](path)]


def _named(kind: str, tensor: StoredTensor) -> StoredTensor:
    parameter, transform = canonical(kind, tensor.parameter)
    return replace(tensor.undone(transform), parameter=parameter)


def _read_shards(folder: Path, index_name: str, allow_pickle: bool) -> list[StoredTensor]:
    weight_map = _read_index(folder, index_name)
    shards = {name: resolve_inside(folder, name) for name in dict.fromkeys(weight_map.values())}
    found = [(tensor, name) for name, path in shards.items() for tensor in _read_file(path, allow_pickle)]
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
        raise CheckpointError(f"{folder / index_name} and its shards disagree:\n" + bullet_list(problems))
    return [tensor for tensor, _ in found]


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


def _remove_stale(changes: Transaction, form: Format) -> None:
    """Remove files of an earlier save in this format that the new save does not replace."""
    for name in form.files(path.name for path in changes.folder.iterdir()):
        changes.remove(name)


def _read_openai(folder: Path) -> list[StoredTensor]:
    shapes_file = resolve_inside(folder, openai_npy.SHAPES_NAME)
    n_layer, rest = divmod(len(openai_npy.read_shapes(shapes_file)) - len(openai.ORDER), len(openai.LAYER_ORDER))
    if rest or n_layer < 1:
        raise CheckpointError(f"{shapes_file}: the number of shapes does not match a whole number of layers.")
    files = [resolve_inside(folder, name) for name in openai_npy.FILES]
    tensors = openai_npy.read(files, shapes_file, openai.order(n_layer))
    return [tensor.undone(_openai_transform(tensor.name)) for tensor in tensors]


def _openai_transform(name: str) -> str:
    found = canonical_name(openai.ROWS, name)  # canonical names are OpenAI's order under our names
    return found[1] if found else "same"


def _write_openai(changes: Transaction, tensors: Sequence[tuple[Parameter, OutgoingTensor]]) -> None:
    by_name = {parameter.name: tensor for parameter, tensor in tensors}
    layers = (len(by_name) - len(openai.ORDER)) // len(openai.LAYER_ORDER)
    if extra := sorted(set(by_name) - set(openai.order(layers))):
        raise CheckpointError(f"OpenAI's format holds the trunk only, without {', '.join(extra)}.")
    ordered = [by_name[name].done(name, _openai_transform(name)) for name in openai.order(layers)]
    total = sum(tensor.size for tensor in ordered) // STORAGE[ordered[0].dtype].itemsize
    bounds = [total * i // len(openai_npy.FILES) for i in range(len(openai_npy.FILES) + 1)]
    for name, begin, end in zip(openai_npy.FILES, bounds, bounds[1:], strict=False):
        with changes.file(name) as file:
            openai_npy.write_file(file, ordered, begin, end)
    with changes.file(openai_npy.SHAPES_NAME) as file:
        file.write(json.dumps([list(tensor.shape) for tensor in ordered]).encode())
