"""Conversion between checkpoint formats, inspection, model cards, and upload to the hub."""

from gptcore.convert.card import model_card
from gptcore.convert.conversion import Rounding, convert_checkpoint, differences
from gptcore.convert.inspection import describe
from gptcore.convert.push import Pushable, push_checkpoint

__all__ = [
    "Pushable",
    "Rounding",
    "convert_checkpoint",
    "describe",
    "differences",
    "model_card",
    "push_checkpoint",
]
