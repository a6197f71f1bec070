"""GPT-2 of KerasHub, in the size of GPT-1, with its cache; the Keras backend comes from KERAS_BACKEND."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras_hub
import numpy as np
from protocol import N_EMBD, N_HEAD, N_LAYER, N_POSITIONS, VOCAB_SIZE, prompt, serve


class Contestant:
    def __init__(self):
        backbone = keras_hub.models.GPT2Backbone(
            vocabulary_size=VOCAB_SIZE,
            num_layers=N_LAYER,
            num_heads=N_HEAD,
            hidden_dim=N_EMBD,
            intermediate_dim=4 * N_EMBD,
            max_sequence_length=N_POSITIONS,
        )
        self.model = keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=None)
        self.model.compile(sampler="greedy")

    def greedy(self, batch, length, new):
        ids = np.pad(prompt(batch, length), ((0, 0), (0, new))).astype(np.int32)
        mask = np.pad(np.ones((batch, length), bool), ((0, 0), (0, new)))
        output = self.model.generate({"token_ids": ids, "padding_mask": mask}, stop_token_ids=None)
        return np.asarray(output["token_ids"])[0, -8:].tolist()


serve(Contestant)
