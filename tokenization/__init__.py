"""Tokenizers for OpenAI GPT, and byte-pair training.

Two classes have the same interface and give the same ids: ``OpenAIGPTTokenizer`` is the reference in plain Python,
``OpenAIGPTTokenizerFast`` is fast. Both support two text paths: ``"original"``, on which the published model was
trained, and ``"basic"``.
"""

from tokenizers import AddedToken

from gptcore.errors import TokenizerError
from tokenization.batch_encoding import BatchEncoding
from tokenization.fast import OpenAIGPTTokenizerFast
from tokenization.folders import TokenizerOptions
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
