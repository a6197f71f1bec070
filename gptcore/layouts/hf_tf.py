"""The TensorFlow classes of transformers: the names of weights in ``tf_model.h5``, behind that of their layer."""

from __future__ import annotations

from gptcore.layouts import Rows

BLOCK = "transformer/transformer/h_._{}/"

ROWS: Rows = {
    "tokens_embed.weight": ("transformer/transformer/tokens_embed/weight:0", "same"),
    "positions_embed.weight": ("transformer/transformer/positions_embed/embeddings:0", "same"),
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
    "multiple_choice_head.summary.weight": ("multiple_choice_head/multiple_choice_head/summary/kernel:0", "transpose"),
    "multiple_choice_head.summary.bias": ("multiple_choice_head/multiple_choice_head/summary/bias:0", "same"),
    "score.weight": ("score/score/kernel:0", "transpose"),
}
