"""The checkpoint formats. Everything that is specific to a format is in its file here."""

from __future__ import annotations

from collections.abc import Mapping

from gptcore.checkpoint.formats.base import Format
from gptcore.checkpoint.formats.flax import FLAX
from gptcore.checkpoint.formats.keras import KERAS
from gptcore.checkpoint.formats.openai import OPENAI
from gptcore.checkpoint.formats.orbax import ORBAX
from gptcore.checkpoint.formats.pytorch import PYTORCH
from gptcore.checkpoint.formats.safetensors import SAFETENSORS
from gptcore.checkpoint.formats.tf import TENSORFLOW

FORMATS: Mapping[str, Format] = {
    form.name: form for form in (SAFETENSORS, TENSORFLOW, KERAS, FLAX, ORBAX, PYTORCH, OPENAI)
}
"""The formats by name, in the order of preference if a folder has several."""
