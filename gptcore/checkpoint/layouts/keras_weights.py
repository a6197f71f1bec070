"""Keras' ``.weights.h5`` of a ``gpt_tf`` model: places in the tree of layers, numbered from the second on."""

from __future__ import annotations

from gptcore.checkpoint.layouts import Rows

ROWS: Rows = {
    "tokens_embed.weight": ("layers/embedding/vars/0", "same"),
    "positions_embed.weight": ("layers/embedding_1/vars/0", "same"),
    "h.{}.attn.c_attn.weight": ("h/block_{}/attn/c_attn/vars/0", "same"),
    "h.{}.attn.c_attn.bias": ("h/block_{}/attn/c_attn/vars/1", "same"),
    "h.{}.attn.c_proj.weight": ("h/block_{}/attn/c_proj/vars/0", "same"),
    "h.{}.attn.c_proj.bias": ("h/block_{}/attn/c_proj/vars/1", "same"),
    "h.{}.ln_1.weight": ("h/block_{}/ln_1/vars/0", "same"),
    "h.{}.ln_1.bias": ("h/block_{}/ln_1/vars/1", "same"),
    "h.{}.mlp.c_fc.weight": ("h/block_{}/mlp/c_fc/vars/0", "same"),
    "h.{}.mlp.c_fc.bias": ("h/block_{}/mlp/c_fc/vars/1", "same"),
    "h.{}.mlp.c_proj.weight": ("h/block_{}/mlp/c_proj/vars/0", "same"),
    "h.{}.mlp.c_proj.bias": ("h/block_{}/mlp/c_proj/vars/1", "same"),
    "h.{}.ln_2.weight": ("h/block_{}/ln_2/vars/0", "same"),
    "h.{}.ln_2.bias": ("h/block_{}/ln_2/vars/1", "same"),
    "multiple_choice_head.summary.weight": ("layers/sequence_summary/summary/vars/0", "transpose"),
    "multiple_choice_head.summary.bias": ("layers/sequence_summary/summary/vars/1", "same"),
    "score.weight": ("layers/projection/vars/0", "transpose"),
}

TRUNK_PREFIX = "layers/tf_open_aigpt_model/"
FIRST_BLOCK = ("h/block_0/", "h/block/")  # Keras does not number the first

# The state of the optimizer, which Keras saves with the weights of a compiled model.
DROPPED = (r"optimizer/.+",)
