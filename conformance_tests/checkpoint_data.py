"""Small checkpoints and hostile files for the tests of formats."""

import pickle
import struct

from trained_scale import trained_scale

from gptcore import OpenAIGPTConfig
from gptcore.checkpoint import save_pretrained
from gptcore.checkpoint.dtypes import convert

CONFIG = OpenAIGPTConfig(vocab_size=31, n_positions=7, n_embd=10, n_head=5, n_layer=2, num_labels=3)


def values(head, dtype, config=CONFIG, seed=0):
    """Canonical name and array of every parameter, at trained scale."""
    for name, array in trained_scale(config, head, seed):
        yield name, convert(array, "float32", dtype)


def save(folder, head, dtype="float32", form="safetensors", config=CONFIG, **options):
    """A checkpoint in any format."""
    save_pretrained(folder, config, head, dtype, values(head, dtype, config), form=form, **options)
    return folder


class Payload:
    """What a hostile pickle does: makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def legacy_file(state, storages):
    """A file of torch.save from before PyTorch 1.6, around any pickled ``state``."""
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    parts += [state, pickle.dumps(list(storages), 2)]
    parts += [struct.pack("<q", len(data) // 4) + data for data in storages.values()]
    return b"".join(parts)
