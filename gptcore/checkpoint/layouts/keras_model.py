"""Keras: the path of each variable inside the trunk or head."""

from __future__ import annotations

from gptcore.checkpoint.layouts import Rows

ROWS: Rows = {
    "tokens_embed.weight": ("tokens_embed/embeddings", "same"),
    "positions_embed.weight": ("positions_embed/embeddings", "same"),
    "h.{}.attn.c_attn.weight": ("h_{}/attn/c_attn/kernel", "same"),
    "h.{}.attn.c_attn.bias": ("h_{}/attn/c_attn/bias", "same"),
    "h.{}.attn.c_proj.weight": ("h_{}/attn/c_proj/kernel", "same"),
    "h.{}.attn.c_proj.bias": ("h_{}/attn/c_proj/bias", "same"),
    "h.{}.ln_1.weight": ("h_{}/ln_1/gamma", "same"),
    "h.{}.ln_1.bias": ("h_{}/ln_1/beta", "same"),
    "h.{}.mlp.c_fc.weight": ("h_{}/mlp/c_fc/kernel", "same"),
    "h.{}.mlp.c_fc.bias": ("h_{}/mlp/c_fc/bias", "same"),
    "h.{}.mlp.c_proj.weight": ("h_{}/mlp/c_proj/kernel", "same"),
    "h.{}.mlp.c_proj.bias": ("h_{}/mlp/c_proj/bias", "same"),
    "h.{}.ln_2.weight": ("h_{}/ln_2/gamma", "same"),
    "h.{}.ln_2.bias": ("h_{}/ln_2/beta", "same"),
    "multiple_choice_head.summary.weight": ("multiple_choice_head/summary/kernel", "transpose"),
    "multiple_choice_head.summary.bias": ("multiple_choice_head/summary/bias", "same"),
    "score.weight": ("score/kernel", "transpose"),
}
