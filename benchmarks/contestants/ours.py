"""This library, in one of its frameworks."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from protocol import prompt, serve

from gptcore.backends import load_backend
from gptcore.parameters import Head


class Contestant:
    def __init__(self, backend, checkpoint):
        self.model = load_backend(backend).load(checkpoint, Head.LM)

    def greedy(self, batch, length, new):
        return self.model.generate(prompt(batch, length), max_new_tokens=new)[0, -8:].tolist()

    def forward(self, batch, length):
        return list(self.model.forward({"input_ids": prompt(batch, length)})["logits"].shape)


serve(Contestant)
