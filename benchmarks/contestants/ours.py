"""This library, in one of its frameworks; the forward pass compiled as users of the framework do it."""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from protocol import prompt, serve

from gptcore.backends import load_backend
from gptcore.spec import Head

BACKEND = load_backend(json.loads(sys.argv[1])["backend"])  # imports the framework, as the others' scripts do


class Contestant:
    def __init__(self, backend, checkpoint, **options):
        self.model = BACKEND.load(checkpoint, Head.LM, **options)
        self.logits = {"torch": torch_logits, "tf": tf_logits, "flax": flax_logits}[backend](self.model.model)

    def greedy(self, batch, length, new):
        return self.model.generate(prompt(batch, length), max_new_tokens=new)[0, -8:].tolist()

    def forward(self, batch, length):
        return list(self.logits(prompt(batch, length)).shape)


def torch_logits(model):
    import torch

    @torch.inference_mode()
    def logits(ids):
        return model(torch.from_numpy(ids)).logits

    return logits


def tf_logits(model):
    import tensorflow as tf

    compiled = tf.function(lambda ids: model(ids).logits, jit_compile=True)
    return lambda ids: compiled(tf.constant(ids)).numpy()


def flax_logits(model):
    import jax
    from flax import nnx

    graph, state = nnx.split(model)
    compiled = jax.jit(lambda state, ids: nnx.merge(graph, state)(ids).logits)
    return lambda ids: np.asarray(compiled(state, ids))


serve(Contestant)
