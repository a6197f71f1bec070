"""Checkpoint files and folders: loading, saving, and matching to the parameter table."""

from gptcore.checkpoint.dtypes import check_dtype, convert
from gptcore.checkpoint.folder import WRITABLE
from gptcore.checkpoint.opening import Checkpoint, open_checkpoint
from gptcore.checkpoint.pretrained import (
    LoadingOptions,
    Pretrained,
    check_modules,
    fresh_values,
    open_pretrained,
    save_pretrained,
)

__all__ = [
    "WRITABLE",
    "Checkpoint",
    "LoadingOptions",
    "Pretrained",
    "check_dtype",
    "check_modules",
    "convert",
    "fresh_values",
    "open_checkpoint",
    "open_pretrained",
    "save_pretrained",
]
