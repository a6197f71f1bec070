"""GPT-2 of CTranslate2, in the size of GPT-1, with its cache."""

import json
import tempfile
from pathlib import Path

import ctranslate2
from protocol import N_EMBD, N_HEAD, N_LAYER, N_POSITIONS, VOCAB_SIZE, prompt, serve
from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast

SIZES = {"vocab_size": VOCAB_SIZE, "n_positions": N_POSITIONS, "n_embd": N_EMBD, "n_layer": N_LAYER, "n_head": N_HEAD}


class Contestant:
    def __init__(self, compute_type="float32"):
        self.tokens = ["<|endoftext|>", *(f"t{i}" for i in range(1, VOCAB_SIZE))]
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        with tempfile.TemporaryDirectory() as name:
            source, converted = Path(name, "source"), Path(name, "converted")
            GPT2LMHeadModel(GPT2Config(**SIZES, bos_token_id=0, eos_token_id=0)).save_pretrained(source)
            (source / "vocab.json").write_text(json.dumps(self.ids))
            (source / "merges.txt").write_text("#version: 0.2\n")
            GPT2TokenizerFast(str(source / "vocab.json"), str(source / "merges.txt")).save_pretrained(source)
            ctranslate2.converters.TransformersConverter(str(source)).convert(str(converted))
            self.generator = ctranslate2.Generator(str(converted), compute_type=compute_type)

    def greedy(self, batch, length, new):
        starts = [[self.tokens[i] for i in row] for row in prompt(batch, length)]
        options = {"max_length": new, "min_length": new, "sampling_topk": 1, "include_prompt_in_result": False}
        results = self.generator.generate_batch(starts, **options)
        assert all(len(result.sequences_ids[0]) == new for result in results)
        return results[0].sequences_ids[0][-8:]

    def forward(self, batch, length):
        rows = [[self.tokens[i] for i in row] for row in prompt(batch, length)]
        return list(self.generator.forward_batch(rows).shape)


serve(Contestant)
