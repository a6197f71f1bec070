"""The TensorFlow classes of transformers: the names of weights in ``tf_model.h5``.

In the file, each name begins with the layer and the model: ``transformer/MODEL/transformer/...``. A
model that was built outside of a scope leaves its own name out.
"""

from __future__ import annotations

from gptcore.checkpoint.layouts import Rows
from gptcore.spec.parameters import Head

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
