"""Trains each case on one replica and on two; prints metrics and the largest distance of the weights as JSON.

Then runs a model on the second device.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

import gpt_tf
from gpt_tf.backend import BACKEND
from gptcore import OpenAIGPTConfig

OFF = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout"), 0.0)
CONFIG = OpenAIGPTConfig(vocab_size=31, n_positions=7, n_embd=6, n_layer=1, n_head=2, num_labels=2, **OFF)
IDS = np.arange(50, dtype=np.int32).reshape(10, 5) % 31  # the batches have 8 and 2 rows
RAGGED = IDS.copy()
RAGGED[0, 2:] = RAGGED[7] = -100  # replicas with different numbers of labels
CLASSES = np.array([0, 1] * 5, np.int32)
WEIGHTS = np.linspace(0, 2, 10, dtype=np.float32)
PAIRS, CHOICES = IDS.reshape(5, 2, 5)[:4], CLASSES[:4]
LM, DOUBLE = gpt_tf.TFOpenAIGPTLMHeadModel, gpt_tf.TFOpenAIGPTDoubleHeadsModel
HALF = {"loss_weights": {"loss": 0.5}}
CASES = {  # model, data, what compile gets
    "own": (LM, ({"input_ids": IDS}, {"labels": RAGGED}, WEIGHTS), {"metrics": ["accuracy"]}),
    "two losses": (
        DOUBLE,
        {"input_ids": PAIRS, "labels": PAIRS, "mc_labels": CHOICES},
        HALF,
    ),
    "compiled": (
        gpt_tf.TFOpenAIGPTForSequenceClassification,
        ({"input_ids": IDS}, CLASSES, WEIGHTS),
        {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]},
    ),
}


def trained(strategy, model_class, data, options):
    with strategy.scope():
        model = model_class(CONFIG)
        model.compile(keras.optimizers.SGD(0.5), **options)
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(8)
    history = {name: values[0] for name, values in model.fit(dataset, verbose=0).history.items()}
    return history, np.concatenate([v.numpy().ravel() for v in model.trainable_variables])


def main():
    device, two = tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(device, two)
    strategies = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    found = {}
    for name, case in CASES.items():
        (alone, weights), (together, same_weights) = (trained(strategy, *case) for strategy in strategies)
        found[name] = {"alone": alone, "together": together, "distance": float(np.abs(weights - same_weights).max())}
    with BACKEND.on("CPU:1"):
        found["on"] = [LM(CONFIG)(IDS).logits.device[-5:], BACKEND.devices()]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
