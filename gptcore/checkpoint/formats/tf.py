"""``tf_model.h5``, as the TensorFlow classes of transformers write it: HDF5 with the layers and weights of Keras 2.

Each name begins with the layer and the model: ``transformer/MODEL/transformer/...``. The name of a model that was
built outside of a scope is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gptcore.checkpoint.containers import hdf5
from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.formats.base import FileFormat
from gptcore.checkpoint.layouts import Rows, canonical_name, foreign_name
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.spec.parameters import Head, Parameter

BLOCK = "transformer/h_._{}/"

ROWS: Rows = {
    "tokens_embed.weight": ("transformer/tokens_embed/weight:0", "same"),
    "positions_embed.weight": ("transformer/positions_embed/embeddings:0", "same"),
    "h.{}.attn.c_attn.weight": (BLOCK + "attn/c_attn/weight:0", "same"),
    "h.{}.attn.c_attn.bias": (BLOCK + "attn/c_attn/bias:0", "leading axis"),
    "h.{}.attn.c_proj.weight": (BLOCK + "attn/c_proj/weight:0", "same"),
    "h.{}.attn.c_proj.bias": (BLOCK + "attn/c_proj/bias:0", "leading axis"),
    "h.{}.ln_1.weight": (BLOCK + "ln_1/gamma:0", "same"),
    "h.{}.ln_1.bias": (BLOCK + "ln_1/beta:0", "same"),
    "h.{}.mlp.c_fc.weight": (BLOCK + "mlp/c_fc/weight:0", "same"),
    "h.{}.mlp.c_fc.bias": (BLOCK + "mlp/c_fc/bias:0", "leading axis"),
    "h.{}.mlp.c_proj.weight": (BLOCK + "mlp/c_proj/weight:0", "same"),
    "h.{}.mlp.c_proj.bias": (BLOCK + "mlp/c_proj/bias:0", "leading axis"),
    "h.{}.ln_2.weight": (BLOCK + "ln_2/gamma:0", "same"),
    "h.{}.ln_2.bias": (BLOCK + "ln_2/beta:0", "same"),
    "multiple_choice_head.summary.weight": ("multiple_choice_head/summary/kernel:0", "transpose"),
    "multiple_choice_head.summary.bias": ("multiple_choice_head/summary/bias:0", "same"),
    "score.weight": ("score/kernel:0", "transpose"),
}

MODEL_NAMES = {
    Head.NONE: "tf_open_aigpt_model",
    Head.LM: "tf_open_aigptlm_head_model",
    Head.DOUBLE_HEADS: "tf_open_aigpt_double_heads_model",
    Head.SEQUENCE_CLASSIFICATION: "tf_open_aigpt_for_sequence_classification",
}


class TF(FileFormat):
    """The HDF5 files of transformers' TensorFlow classes."""

    name = "tf"
    container = "hdf5"
    file_name = "tf_model.h5"
    dtypes = tuple(name for name in STORAGE if name != "bfloat16")

    def recognises(self, path: Path, start: bytes) -> bool:
        return start.startswith(hdf5.SIGNATURE)

    def read(self, path: Path) -> list[StoredTensor]:
        return hdf5.read(path)

    def to_canonical(self, name: str) -> tuple[str, str] | None:
        in_layer = name.partition("/")[2]
        in_model = in_layer.partition("/")[2]
        return canonical_name(ROWS, in_model) or canonical_name(ROWS, in_layer)

    def from_canonical(self, parameter: Parameter, head: Head) -> tuple[str, str]:
        name, transform = foreign_name(ROWS, parameter)
        return f"{name.partition('/')[0]}/{MODEL_NAMES[head]}/{name}", transform

    def write(self, target: Any, tensors: Iterable[OutgoingTensor], provenance: Mapping[str, str]) -> None:
        """Write datasets, with the lists of layers and weights that Keras 2 needs."""
        tensors = list(tensors)
        layers: dict[str, list[str]] = {}
        for tensor in tensors:
            layer, _, weight = tensor.name.partition("/")
            layers.setdefault(layer, []).append(weight)
        attributes: dict[str, Mapping[str, Any]] = {
            "/": {"layer_names": list(layers), "backend": "tensorflow", "keras_version": "2.15.0"},
            **{layer: {"weight_names": weights} for layer, weights in layers.items()},
            "top_level_model_weights": {"weight_names": []},
        }
        hdf5.write(target, tensors, attributes)


TENSORFLOW = TF()
