"""Checkpoint files and folders: loading, saving, and matching to the parameter table."""

from gptcore.checkpoint.pretrained import Pretrained, check_modules, fresh_values, open_pretrained, save_pretrained

__all__ = ["Pretrained", "check_modules", "fresh_values", "open_pretrained", "save_pretrained"]
