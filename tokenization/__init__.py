"""Text to ids and back for OpenAI GPT, and byte-pair training.

Two classes with one interface and the same ids: ``OpenAIGPTTokenizer`` in plain Python is the definition,
``OpenAIGPTTokenizerFast`` is fast. Two text paths in both: ``"original"``, on which the published model was trained,
and ``"basic"``.
"""

from tokenizers import AddedToken

from gptcore.errors import TokenizerError
from tokenization.encoding import BatchEncoding
from tokenization.fast import OpenAIGPTTokenizerFast
from tokenization.pretrained import TokenizerOptions
from tokenization.slow import OpenAIGPTTokenizer
from tokenization.training import train

__all__ = [
    "AddedToken",
    "BatchEncoding",
    "OpenAIGPTTokenizer",
    "OpenAIGPTTokenizerFast",
    "TokenizerError",
    "TokenizerOptions",
    "train",
]
