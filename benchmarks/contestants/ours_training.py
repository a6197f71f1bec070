"""Training in this library, in one of its frameworks."""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from protocol import prompt, serve

from gptcore.backends import load_trainers
from gptcore.spec import Head
from gptcore.training import Recipe, keep_freed_memory

LOAD_TRAINER = load_trainers(json.loads(sys.argv[1])["backend"])
keep_freed_memory()  # as gptcore train does


class Contestant:
    def __init__(self, backend, checkpoint, precision="float32"):
        recipe = Recipe(warmup_steps=0, precision=precision)
        self.trainer = LOAD_TRAINER(checkpoint, Head.LM, recipe, 1000)
        self.number = 0

    def train(self, batch, length):
        ids = prompt(batch, length).astype("int32")
        self.number += 1
        return self.trainer.step(self.number - 1, {"input_ids": ids, "labels": ids})["loss"]


serve(Contestant)
