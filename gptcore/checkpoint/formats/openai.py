"""OpenAI's release: the numbers of all parameters one after the other in ten NumPy files, and a list of their shapes.

The files contain no names; the order is fixed. They hold the trunk only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gptcore.checkpoint.containers import npy
from gptcore.checkpoint.containers.reading import damage_reported, resolve_inside
from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.formats.base import Format, ReadFile
from gptcore.checkpoint.layouts import Rows, canonical_name
from gptcore.checkpoint.tensors import OutgoingTensor, Region, StoredTensor
from gptcore.errors import CheckpointError
from gptcore.spec.parameters import Head, Parameter
from gptcore.storage.transaction import Transaction

NUMBERS_NAMES = tuple(f"params_{i}.npy" for i in range(10))
MAX_SHAPES_BYTES = 1 << 20
MAX_TENSORS = 100_000

ORDER = ("positions_embed.weight", "tokens_embed.weight")
LAYER_ORDER = (
    "attn.c_attn.weight",
    "attn.c_attn.bias",
    "attn.c_proj.weight",
    "attn.c_proj.bias",
    "ln_1.weight",
    "ln_1.bias",
    "mlp.c_fc.weight",
    "mlp.c_fc.bias",
    "mlp.c_proj.weight",
    "mlp.c_proj.bias",
    "ln_2.weight",
    "ln_2.bias",
)
KERNELS = {"attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight"}

ROWS: Rows = {
    **{name: (name, "same") for name in ORDER},
    **{f"h.{{}}.{name}": (f"h.{{}}.{name}", "leading axis" if name in KERNELS else "same") for name in LAYER_ORDER},
}


def order(n_layer: int) -> list[str]:
    """The canonical names of all parameters in the order of the files.

    >>> order(12)[:3], len(order(12))
    (['positions_embed.weight', 'tokens_embed.weight', 'h.0.attn.c_attn.weight'], 146)
    """
    return [*ORDER, *(f"h.{layer}.{name}" for layer in range(n_layer) for name in LAYER_ORDER)]


class OpenAI(Format):
    """The npy files of OpenAI's repository of 2018."""

    name = container = "openai"
    file_name = "params_shapes.json"
    dtypes = npy.DTYPES
    head_size = 64  # of the model that OpenAI released

    def files(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name in (self.file_name, *NUMBERS_NAMES)]

    def read_folder(self, folder: Path, read_file: ReadFile) -> list[StoredTensor]:
        shapes_path = resolve_inside(folder, self.file_name)
        shapes = _read_shapes(shapes_path)
        n_layer, rest = divmod(len(shapes) - len(ORDER), len(LAYER_ORDER))
        if rest or n_layer < 1:
            raise CheckpointError(f"{shapes_path}: the number of shapes does not match a whole number of layers.")
        rows = [npy.read_row(resolve_inside(folder, name)) for name in NUMBERS_NAMES]
        regions, dtypes = [region for region, _ in rows], sorted({dtype for _, dtype in rows})
        described, stored = sum(map(math.prod, shapes)), sum(region.count for region in regions)
        if len(dtypes) != 1 or stored != described:
            raise CheckpointError(
                f"{shapes_path} describes {described} numbers, but the files hold {stored} ({', '.join(dtypes)})"
            )
        tensors = []
        for name, shape in zip(order(n_layer), shapes, strict=True):
            parts = _take(regions, math.prod(shape), STORAGE[dtypes[0]].itemsize)
            tensor = StoredTensor(shapes_path, name, name, dtypes[0], shape, parts, form=self.name)
            tensors.append(tensor.undone(_transform(name)))
        return tensors

    def write_folder(
        self,
        changes: Transaction,
        tensors: Sequence[tuple[Parameter, OutgoingTensor]],
        head: Head,
        max_shard_size: int | str | None,
        provenance: Mapping[str, str],
    ) -> None:
        by_name = {parameter.name: tensor for parameter, tensor in tensors}
        names = order((len(by_name) - len(ORDER)) // len(LAYER_ORDER))
        if extra := sorted(set(by_name) - set(names)):
            raise CheckpointError(
                "cannot save in OpenAI's format: it holds the trunk only, but the model also has "
                f"{', '.join(extra)}. Choose another format."
            )
        ordered = [by_name[name].done(name, _transform(name)) for name in names]
        total = sum(math.prod(tensor.shape) for tensor in ordered)
        bounds = [total * i // len(NUMBERS_NAMES) for i in range(len(NUMBERS_NAMES) + 1)]
        for name, begin, end in zip(NUMBERS_NAMES, bounds, bounds[1:], strict=False):
            with changes.file(name) as file:
                npy.write_row(file, ordered, begin, end)
        with changes.file(self.file_name) as file:
            file.write(json.dumps([list(tensor.shape) for tensor in ordered]).encode())


OPENAI = OpenAI()


def _transform(name: str) -> str:
    """The transform of a parameter, by its canonical name."""
    row = canonical_name(ROWS, name)
    return row[1] if row else "same"


def _read_shapes(path: Path) -> list[tuple[int, ...]]:
    """The shapes of all parameters, in order."""
    with damage_reported(path, "JSON"):
        if path.stat().st_size > MAX_SHAPES_BYTES:
            raise CheckpointError(f"the file has more than {MAX_SHAPES_BYTES} bytes")
        shapes = json.loads(path.read_bytes())
        if not isinstance(shapes, list) or not 0 < len(shapes) < MAX_TENSORS:
            raise CheckpointError("the file is not a list of shapes")
        for shape in shapes:
            if not isinstance(shape, list) or not all(type(n) is int and 0 < n < 1 << 31 for n in shape):
                raise CheckpointError(f"{shape!r} is not a shape")
        return [tuple(shape) for shape in shapes]


def _take(regions: list[Region], count: int, item_size: int) -> tuple[Region, ...]:
    """Remove the next ``count`` numbers from the front of ``regions`` and return them."""
    taken = []
    while count:
        first = regions.pop(0)
        part = min(count, first.count)
        taken.append(Region(first.path, first.offset, part))
        count -= part
        if first.count > part:
            regions.insert(0, Region(first.path, first.offset + part * item_size, first.count - part))
    return tuple(taken)
