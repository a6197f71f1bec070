"""Language modelling, idiomatic Keras: tf.data, compile, fit, callbacks.

gptcore tokenizer train book.txt --output words --vocab-size 1000
python examples/tf/run_clm.py book.txt --tokenizer words --output runs/clm
"""

import argparse
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from gpt_tf import OpenAIGPTConfig, TFOpenAIGPTLMHeadModel
from gpt_tf.training import adamw
from gptcore.training import Blocks, Recipe, tokenize_corpus
from tokenization import OpenAIGPTTokenizerFast


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", help="text files")
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--length", type=int, default=128, help="tokens per block")
    arguments = parser.parse_args()
    keras.utils.set_random_seed(0)  # dropout: its layers draw their seeds when they are made

    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(arguments.tokenizer)
    corpus = tokenize_corpus(arguments.files, tokenizer, arguments.output / "corpus")
    config = OpenAIGPTConfig(vocab_size=len(tokenizer), n_positions=arguments.length, n_embd=128, n_layer=2, n_head=4)
    recipe = Recipe(learning_rate=1e-3, warmup_steps=10, batch_size=8, max_steps=arguments.steps)

    blocks = Blocks(corpus.ids, arguments.length)
    signature = {name: tf.TensorSpec((arguments.length,), tf.int32) for name in ("input_ids", "labels")}
    dataset = tf.data.Dataset.from_generator(
        lambda: (blocks[i] for i in range(len(blocks))), output_signature=signature
    )
    dataset = dataset.shuffle(1000, seed=0).repeat().batch(recipe.batch_size).prefetch(tf.data.AUTOTUNE)

    model = TFOpenAIGPTLMHeadModel(config, seed=0)
    model.compile(adamw(model, recipe, recipe.max_steps), jit_compile=True)  # no loss: the model's own
    arguments.output.mkdir(parents=True, exist_ok=True)
    epoch = min(10, recipe.max_steps)  # what a progress bar and the callbacks count
    model.fit(
        dataset,
        steps_per_epoch=epoch,
        epochs=-(-recipe.max_steps // epoch),
        verbose=2,
        callbacks=[
            keras.callbacks.CSVLogger(arguments.output / "log.csv"),
            keras.callbacks.ModelCheckpoint(arguments.output / "best.weights.h5", "loss", save_best_only=True,
                                            save_weights_only=True),
            keras.callbacks.TerminateOnNaN(),
        ],
    )  # fmt: skip

    model.save_pretrained(arguments.output)
    tokenizer.save_pretrained(arguments.output)
    start = np.array([[corpus.ids[0]]], np.int32)
    print(tokenizer.decode(model.generate(start, max_new_tokens=20, do_sample=True, seed=0)[0].numpy()))


if __name__ == "__main__":
    main()
