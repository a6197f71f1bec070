"""Generation without a framework: settings, checks, random numbers, logits processors, and decoding."""

from gptcore.generation.config import GenerationConfig, GenerationSettings
from gptcore.generation.configured import Generates
from gptcore.generation.host.decoding import GenerateOutput, decode
from gptcore.generation.host.stepper import Stepper, bucket
from gptcore.generation.prompt import Prompt, check_prompt
from gptcore.generation.request import generate, settled
from gptcore.generation.streaming import TextStreamer, stream_text

__all__ = [
    "GenerateOutput",
    "Generates",
    "GenerationConfig",
    "GenerationSettings",
    "Prompt",
    "Stepper",
    "TextStreamer",
    "bucket",
    "check_prompt",
    "decode",
    "generate",
    "settled",
    "stream_text",
]
