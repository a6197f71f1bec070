"""``orbax_checkpoint/``, a tree of arrays as Orbax saves it: a zarr array for each path of a Flax NNX model.

Orbax packs all arrays into one OCDBT store and compresses them or, with ``use_ocdbt=False``, gives each a directory of
its own. Both are read. The second kind is written, next to ``config.json``, without compression: each array is then a
file of plain numbers, which can be mapped into memory like those of all other formats, without a library.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gptcore.checkpoint.containers import zarr
from gptcore.checkpoint.containers.reading import damage_reported
from gptcore.checkpoint.formats.base import FileFormat
from gptcore.checkpoint.layouts import nnx
from gptcore.checkpoint.layouts.published import TRUNK_PREFIX
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.errors import CheckpointError
from gptcore.spec.parameters import Head, Parameter

TREE_NAME = "_METADATA"
HANDLER = "orbax.checkpoint._src.handlers.standard_checkpoint_handler.StandardCheckpointHandler"
MAX_TREE_BYTES = 1 << 24  # a model of 12 layers has 40,000
EMBEDDING = nnx.ROWS["tokens_embed.weight"][0]
BESIDE = "/"  # prefix of the paths outside the model


class Orbax(FileFormat):
    """The directories of Orbax."""

    name = container = "orbax"
    file_name = "orbax_checkpoint"
    is_directory = True
    dropped = (*nnx.DROPPED, rf"{BESIDE}.+")

    def recognises(self, path: Path, start: bytes) -> bool:
        return (path / TREE_NAME).is_file()

    def read(self, path: Path) -> list[StoredTensor]:
        tensors = zarr.read(path, _array_names)
        with damage_reported(path, "Orbax"):
            paths = model_paths([tensor.name for tensor in tensors])
        return [replace(tensor, parameter=paths[tensor.name]) for tensor in tensors]

    def to_canonical(self, name: str) -> tuple[str, str] | None:
        return nnx.to_canonical(name)

    def from_canonical(self, parameter: Parameter, head: Head) -> tuple[str, str]:
        return nnx.from_canonical(parameter, head)

    def write(self, target: Any, tensors: Iterable[OutgoingTensor], provenance: Mapping[str, str]) -> None:
        """Write a tree that ``StandardCheckpointer().restore`` reads."""
        tree = {}
        for tensor in tensors:
            zarr.write_array(target / tensor.name, tensor)
            keys = tensor.name.split(".")
            tree[str(tuple(keys))] = {
                "key_metadata": [{"key": key, "key_type": 2} for key in keys],  # 2: of a dict
                "value_metadata": {"value_type": "jax.Array", "skip_deserialize": False},
            }
        files = {
            "_CHECKPOINT_METADATA": {"item_handlers": HANDLER},
            TREE_NAME: {"tree_metadata": tree, "use_ocdbt": False, "use_zarr3": False},
        }
        for name, content in files.items():
            (target / name).write_bytes(json.dumps(content).encode())


ORBAX = Orbax()


def _array_names(folder: Path) -> list[str]:
    """The names of the arrays in Orbax's own list."""
    path = folder / TREE_NAME
    with damage_reported(path, "JSON"):
        if path.stat().st_size > MAX_TREE_BYTES:
            raise CheckpointError(f"the file has more than {MAX_TREE_BYTES} bytes")
        tree = json.loads(path.read_bytes())["tree_metadata"]
        return [".".join(part["key"] for part in entry["key_metadata"]) for entry in dict(tree).values()]


def model_paths(names: Sequence[str]) -> dict[str, str]:
    """Map each path in a state, which may include an optimizer and its moments, to the path inside the model.

    The model is the branch with the least nested token embedding; paths outside of it get the prefix ``BESIDE``.

    >>> list(model_paths(["0.tokens_embed.embedding.value", "1.mu.tokens_embed.embedding"]).values())
    ['tokens_embed.embedding', '/1.mu.tokens_embed.embedding']

    Raises:
        CheckpointError: Two models are equally deep.
    """
    plain = {name: name.removesuffix(nnx.VALUE) for name in names}
    places = [name.removesuffix(EMBEDDING) for name in plain.values() if f".{name}".endswith(f".{EMBEDDING}")]
    roots = {place.removesuffix(TRUNK_PREFIX) for place in places}
    least = min((root.count(".") for root in roots), default=0)
    shallow = sorted(root for root in roots if root.count(".") == least)
    if len(shallow) > 1:
        raise CheckpointError(f"the checkpoint holds several models, at {', '.join(shallow)}. Save one of them alone.")
    root = shallow[0] if shallow else ""
    return {name: path.removeprefix(root) if path.startswith(root) else BESIDE + name for name, path in plain.items()}
