"""A small checkpoint with the weights of a fresh model, and changes to it as by another program."""

import safetensors.numpy

from gptcore import OpenAIGPTConfig
from gptcore.checkpoint import fresh_values, save_pretrained
from gptcore.checkpoint.formats import FORMATS

WEIGHTS_NAME, INDEX_NAME = FORMATS["safetensors"].file_name, FORMATS["safetensors"].index_name
CONFIG = OpenAIGPTConfig(vocab_size=31, n_positions=7, n_embd=10, n_head=5, n_layer=2)


def save(folder, head, **options):
    save_pretrained(folder, CONFIG, head, "float32", fresh_values(CONFIG, head, "float32", 0), **options)


def rewrite(folder, change):
    """Change the tensors of a folder with the safetensors library itself: a file that another program wrote."""
    tensors = safetensors.numpy.load_file(folder / WEIGHTS_NAME)
    change(tensors)
    safetensors.numpy.save_file(tensors, folder / WEIGHTS_NAME)
