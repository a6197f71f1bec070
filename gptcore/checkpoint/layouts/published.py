"""The published names: the canonical ones, with ``transformer.`` before the trunk in head models."""

from __future__ import annotations

from gptcore.spec.parameters import TRUNK, Head

TRUNK_PREFIX = "transformer."
TRUNK_ROOTS = tuple(row.name.split("{")[0] for row in TRUNK)
WRAPPERS = ("module.", "_orig_mod.", TRUNK_PREFIX)  # of DataParallel, torch.compile and head models

# Mask buffers that older versions of transformers saved beside the weights.
DROPPED = (r"h\.\d+\.attn\.(bias|masked_bias)", r"position_ids")

# The second name of the token embedding. Some files have both names, some only this one.
TIED_HEAD = "lm_head.weight"
TIED_TO = "tokens_embed.weight"


def is_inner(name: str, head: Head) -> bool:
    """Whether a parameter belongs to the trunk inside a head model."""
    return head is not Head.NONE and name.startswith(TRUNK_ROOTS)


def published_name(name: str, head: Head) -> str:
    """The name in published files: head models put ``transformer.`` before the trunk.

    >>> published_name("h.0.ln_1.bias", Head.LM), published_name("score.weight", Head.SEQUENCE_CLASSIFICATION)
    ('transformer.h.0.ln_1.bias', 'score.weight')
    """
    return TRUNK_PREFIX + name if is_inner(name, head) else name


def unwrapped(name: str) -> str:
    """The canonical name of a published one, without the prefixes of model wrappers.

    >>> unwrapped("module.transformer.h.0.ln_1.bias")
    'h.0.ln_1.bias'
    """
    while name.startswith(WRAPPERS):
        name = name.partition(".")[2]
    return name
