"""The published PyTorch files: the canonical names, with ``transformer.`` before the trunk in head models."""

from __future__ import annotations

from gptcore.checkpoint.layouts import Rows

ROWS: Rows = {
    "tokens_embed.weight": ("tokens_embed.weight", "same"),
    "positions_embed.weight": ("positions_embed.weight", "same"),
    "h.{}.attn.c_attn.weight": ("h.{}.attn.c_attn.weight", "same"),
    "h.{}.attn.c_attn.bias": ("h.{}.attn.c_attn.bias", "same"),
    "h.{}.attn.c_proj.weight": ("h.{}.attn.c_proj.weight", "same"),
    "h.{}.attn.c_proj.bias": ("h.{}.attn.c_proj.bias", "same"),
    "h.{}.ln_1.weight": ("h.{}.ln_1.weight", "same"),
    "h.{}.ln_1.bias": ("h.{}.ln_1.bias", "same"),
    "h.{}.mlp.c_fc.weight": ("h.{}.mlp.c_fc.weight", "same"),
    "h.{}.mlp.c_fc.bias": ("h.{}.mlp.c_fc.bias", "same"),
    "h.{}.mlp.c_proj.weight": ("h.{}.mlp.c_proj.weight", "same"),
    "h.{}.mlp.c_proj.bias": ("h.{}.mlp.c_proj.bias", "same"),
    "h.{}.ln_2.weight": ("h.{}.ln_2.weight", "same"),
    "h.{}.ln_2.bias": ("h.{}.ln_2.bias", "same"),
    "multiple_choice_head.summary.weight": ("multiple_choice_head.summary.weight", "same"),
    "multiple_choice_head.summary.bias": ("multiple_choice_head.summary.bias", "same"),
    "score.weight": ("score.weight", "same"),
}

TRUNK_PREFIX = "transformer."

# Mask buffers that older versions of transformers saved beside the weights.
DROPPED = (r"h\.\d+\.attn\.(bias|masked_bias)", r"position_ids")

# A second name of the token embedding; some files hold it beside the first, some instead of it.
TIED_HEAD = "lm_head.weight"
TIED_TO = "tokens_embed.weight"
