"""OpenAI's release: the order and the transforms of the parameters. The files contain no names."""

from __future__ import annotations

from gptcore.checkpoint.layouts import Rows

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
