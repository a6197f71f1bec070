"""Flax NNX: the path of each parameter inside the trunk or head, joined by dots."""

from __future__ import annotations

from gptcore.checkpoint.layouts import Rows, canonical_name, foreign_name
from gptcore.checkpoint.layouts.published import TRUNK_PREFIX, is_inner
from gptcore.spec.parameters import Head, Parameter

ROWS: Rows = {
    "tokens_embed.weight": ("tokens_embed.embedding", "same"),
    "positions_embed.weight": ("positions_embed.embedding", "same"),
    "h.{}.attn.c_attn.weight": ("h.{}.attn.c_attn.kernel", "same"),
    "h.{}.attn.c_attn.bias": ("h.{}.attn.c_attn.bias", "same"),
    "h.{}.attn.c_proj.weight": ("h.{}.attn.c_proj.kernel", "same"),
    "h.{}.attn.c_proj.bias": ("h.{}.attn.c_proj.bias", "same"),
    "h.{}.ln_1.weight": ("h.{}.ln_1.scale", "same"),
    "h.{}.ln_1.bias": ("h.{}.ln_1.bias", "same"),
    "h.{}.mlp.c_fc.weight": ("h.{}.mlp.c_fc.kernel", "same"),
    "h.{}.mlp.c_fc.bias": ("h.{}.mlp.c_fc.bias", "same"),
    "h.{}.mlp.c_proj.weight": ("h.{}.mlp.c_proj.kernel", "same"),
    "h.{}.mlp.c_proj.bias": ("h.{}.mlp.c_proj.bias", "same"),
    "h.{}.ln_2.weight": ("h.{}.ln_2.scale", "same"),
    "h.{}.ln_2.bias": ("h.{}.ln_2.bias", "same"),
    "multiple_choice_head.summary.weight": ("multiple_choice_head.summary.kernel", "transpose"),
    "multiple_choice_head.summary.bias": ("multiple_choice_head.summary.bias", "same"),
    "score.weight": ("score.kernel", "transpose"),
}

VALUE = ".value"  # ends the path of a parameter in a state that was not converted to a pure dict

# Entries of a saved state that are not parameters: the random streams of dropout.
DROPPED = (r"(.+\.)?rngs\..+",)


def to_canonical(name: str) -> tuple[str, str] | None:
    """The canonical name of a path in a model, and the transform of its values; ``None`` for other paths."""
    return canonical_name(ROWS, name.removeprefix(TRUNK_PREFIX))


def from_canonical(parameter: Parameter, head: Head) -> tuple[str, str]:
    """The path of a parameter in a model, and the transform that its values take."""
    name, transform = foreign_name(ROWS, parameter)
    return (TRUNK_PREFIX if is_inner(parameter.name, head) else "") + name, transform
