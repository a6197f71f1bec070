"""GPT-2 of transformers 4.57 in PyTorch, in the size of GPT-1, with its cache."""

import torch
from protocol import N_EMBD, N_HEAD, N_LAYER, N_POSITIONS, VOCAB_SIZE, prompt, serve
from transformers import GPT2Config, GPT2LMHeadModel

SIZES = {"vocab_size": VOCAB_SIZE, "n_positions": N_POSITIONS, "n_embd": N_EMBD, "n_layer": N_LAYER, "n_head": N_HEAD}


class Contestant:
    def __init__(self):
        self.model = GPT2LMHeadModel(GPT2Config(**SIZES, bos_token_id=0, eos_token_id=None)).eval()

    @torch.inference_mode()
    def greedy(self, batch, length, new):
        ids = torch.from_numpy(prompt(batch, length))
        options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 0}
        return self.model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, -8:].tolist()


serve(Contestant)
