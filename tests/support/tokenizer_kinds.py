"""Both classes of tokenizers, both text paths, and the vocabulary of the released model in any of them."""

from text_data import VOCABULARY

from tokenization import OpenAIGPTTokenizer, OpenAIGPTTokenizerFast

KINDS = (OpenAIGPTTokenizer, OpenAIGPTTokenizerFast)
MODES = ("basic", "original")


def load(kind, mode="basic", **options):
    return kind.from_pretrained(VOCABULARY, pre_tokenizer=mode, **options)
