"""GPT-1 of transformers 4.57 in PyTorch."""

import torch
from protocol import N_EMBD, N_HEAD, N_LAYER, N_POSITIONS, VOCAB_SIZE, prompt, serve
from transformers import OpenAIGPTConfig, OpenAIGPTLMHeadModel

SIZES = {"vocab_size": VOCAB_SIZE, "n_positions": N_POSITIONS, "n_embd": N_EMBD, "n_layer": N_LAYER, "n_head": N_HEAD}


class Contestant:
    def __init__(self, checkpoint=None):
        if checkpoint:
            self.model = OpenAIGPTLMHeadModel.from_pretrained(checkpoint)
        else:
            self.model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**SIZES))
        self.model.eval()

    @torch.inference_mode()
    def greedy(self, batch, length, new):
        ids = torch.from_numpy(prompt(batch, length))
        options = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False, "pad_token_id": 0}
        return self.model.generate(ids, attention_mask=torch.ones_like(ids), **options)[0, -8:].tolist()

    @torch.inference_mode()
    def forward(self, batch, length):
        return list(self.model(torch.from_numpy(prompt(batch, length))).logits.shape)


serve(Contestant)
