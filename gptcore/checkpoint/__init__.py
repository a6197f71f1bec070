"""Checkpoint files and folders: reading, writing, matching to the parameter table."""

from gptcore.checkpoint.pretrained import Pretrained, fresh_values, missing_weights, open_pretrained, save_pretrained
from gptcore.checkpoint.push import Pushable

__all__ = ["Pretrained", "Pushable", "fresh_values", "missing_weights", "open_pretrained", "save_pretrained"]
