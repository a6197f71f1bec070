"""Flax NNX: the path of each parameter inside the trunk or head, joined by dots."""

from __future__ import annotations

from collections.abc import Sequence

from gptcore.checkpoint.layouts import Rows
from gptcore.checkpoint.layouts.hf_torch import TRUNK_PREFIX
from gptcore.errors import CheckpointError

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

VALUE = ".value"  # between a parameter and its array, in a state that was not made a pure dict
EMBEDDING = ROWS["tokens_embed.weight"][0]
BESIDE = "/"

# Entries of a saved state that are not parameters: the random streams of dropout, and everything outside the model.
DROPPED = (r"(.+\.)?rngs\..+", rf"{BESIDE}.+")


def parameter_names(names: Sequence[str]) -> dict[str, str]:
    """Map each path in a state, which may include an optimizer and its moments, to the path inside the model.

    The model is the branch with the least nested token embedding; paths outside of it get the prefix ``BESIDE``.

    >>> list(parameter_names(["0.tokens_embed.embedding.value", "1.mu.tokens_embed.embedding"]).values())
    ['tokens_embed.embedding', '/1.mu.tokens_embed.embedding']

    Raises:
        CheckpointError: two models are equally deep.
    """
    plain = {name: name.removesuffix(VALUE) for name in names}
    places = [name.removesuffix(EMBEDDING) for name in plain.values() if f".{name}".endswith(f".{EMBEDDING}")]
    roots = {place.removesuffix(TRUNK_PREFIX) for place in places}
    least = min((root.count(".") for root in roots), default=0)
    shallow = sorted(root for root in roots if root.count(".") == least)
    if len(shallow) > 1:
        raise CheckpointError(f"the checkpoint holds several models, at {', '.join(shallow)}. Save one of them alone.")
    root = shallow[0] if shallow else ""
    return {name: path.removeprefix(root) if path.startswith(root) else BESIDE + name for name, path in plain.items()}
