"""Training of transformers' GPT-1 in PyTorch, as its users write it."""

import torch
from protocol import prompt, serve
from transformers import OpenAIGPTLMHeadModel


class Contestant:
    def __init__(self, checkpoint):
        self.model = OpenAIGPTLMHeadModel.from_pretrained(checkpoint).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=2.5e-4, weight_decay=0.01)

    def train(self, batch, length):
        ids = torch.from_numpy(prompt(batch, length))
        loss = self.model(ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()


serve(Contestant)
