"""Models, batches and the truth for tests of training: AdamW in float64 over the reference's gradients."""

import copy
import functools
import importlib
import socket
import tempfile
from pathlib import Path

import numpy as np
from checkpoint_data import values
from trained_scale import trained_scale

from gptcore.checkpoint import save_pretrained
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head, parameters
from gptcore.spec.recipe import Recipe
from gptcore.spec.reference import Reference
from gptcore.spec.tasks import TASKS, add_task_tokens
from gptcore.training import Batches, Blocks, objective, tokenize_corpus
from gptcore.training.examples import TaskExamples, label_settings
from tokenization import train

NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "summary_first_dropout": 0.0}
RECIPE = Recipe(learning_rate=1e-3, warmup_steps=5, batch_size=6, weight_decay=0.01, max_grad_norm=1.0, seed=3)
STILL = RECIPE.replace(learning_rate=1e-12, weight_decay=0.0, warmup_steps=0)  # too little to change a weight
DROPOUT = {"resid_pdrop": 0.2, "embd_pdrop": 0.2, "attn_pdrop": 0.2}
TEXT = Path(__file__).parents[2] / "LICENSE"  # real text that nobody edits

ROWS = {
    "classify": [
        {"text": f"{word} {i}", "label": "ab"[i % 2]}
        for i, word in enumerate(["a", "fine", "film", ",", "or", "not"] * 2)
    ],
    "entail": [{"premise": "all " * (i + 1), "hypothesis": "some", "label": "ynm"[i % 3]} for i in range(12)],
    "similarity": [{"sentence1": "a cat " * (1 + i % 3), "sentence2": f"dog {i}", "label": i / 3} for i in range(12)],
    "choice": [{"context": f"it {i}", "choice1": "so", "choice2": "then or now", "label": i % 2} for i in range(12)],
}


@functools.cache
def tokenizer():
    """A small vocabulary of the text."""
    return train(TEXT, 400, pre_tokenizer="basic", show_progress=False)


@functools.cache
def blocks(length=16):
    """The text as blocks."""
    folder = tempfile.mkdtemp()
    return Blocks(np.array(tokenize_corpus(TEXT, tokenizer(), folder).ids), length)


def config(**changes):
    """A model for these data: sizes apart, nothing a multiple of another."""
    sizes = {"vocab_size": 421, "n_positions": 31, "n_embd": 30, "n_layer": 1, "n_head": 3}
    return OpenAIGPTConfig(**{**sizes, **NO_DROPOUT, **changes})


def lm_batches(recipe=RECIPE, length=16):
    """Batches of text."""
    return Batches(blocks(length), recipe.batch_size, seed=recipe.seed)


def ragged(batch):
    """A batch of text with another number of labels in each row."""
    return {**batch, "labels": np.where(np.arange(16) < np.arange(3, 15, 2)[:, None], batch["labels"], -100)}


def task_batches(task, recipe=RECIPE, **changes):
    """The config and batches of a kind of task."""
    words = tokenizer()
    add_task_tokens(words)
    settings = config(**label_settings(task, [row["label"] for row in ROWS[task]]), **changes)
    examples = TaskExamples(task, ROWS[task], words, settings)
    return settings, Batches(examples, recipe.batch_size, seed=recipe.seed, collate=examples.collate)


def save_fine_tuned(folder, task):
    """Write a model with the head of a task (or "lm") and its tokenizer; returns the folder."""
    words, head = copy.deepcopy(tokenizer()), HEADS[task]
    labels = {} if task == "lm" else label_settings(task, [row["label"] for row in ROWS[task]])
    add_task_tokens(words, None if task == "lm" else task)
    settings = config(vocab_size=len(words), **labels)
    save_pretrained(folder, settings, head, "float32", values(head, "float32", settings))
    words.save_pretrained(folder)
    return folder


def reference_losses(settings, head, weights, batch):
    """The losses of a batch and their gradients, in float64: {loss: (value, gradients)}."""
    ids = batch["input_ids"].astype(np.int64)
    if head is Head.LM:
        losses, gradients = Reference(settings, weights, head).loss_and_gradients(
            {"input_ids": ids, "labels": batch["labels"]}
        )
        return {"lm_loss": (losses["loss"], gradients)}
    places = batch["extract_positions"].astype(np.int64)
    if head is Head.DOUBLE_HEADS:
        model = Reference(settings, weights, head)
        inputs = {"input_ids": ids, "mc_token_ids": places}
        lm, lm_gradients = model.loss_and_gradients({**inputs, "labels": batch["labels"]})
        task, task_gradients = model.loss_and_gradients({**inputs, "mc_labels": batch["targets"]})
        return {"lm_loss": (lm["loss"], lm_gradients), "task_loss": (task["mc_loss"], task_gradients)}
    trunk = {name: weights[name] for name in parameters(settings, Head.LM)}
    lm, lm_gradients = Reference(settings, trunk, Head.LM).loss_and_gradients(
        {"input_ids": ids, "labels": batch["labels"]}
    )
    mask = (np.arange(ids.shape[-1]) <= places[:, None]).astype(np.int64)
    inputs = {"input_ids": ids, "attention_mask": mask, "labels": batch["targets"]}
    task, task_gradients = Reference(settings, weights, head).loss_and_gradients(inputs)
    lm_gradients = {name: lm_gradients.get(name, 0.0) for name in task_gradients}
    return {"lm_loss": (lm["loss"], lm_gradients), "task_loss": (task["loss"], task_gradients)}


def reference_run(settings, head, recipe, batches, steps, seed=0):
    """The losses of each step and the weights after the last, by AdamW in float64.

    Loshchilov and Hutter 2019, algorithm 2, after clipping to a global norm.
    """
    weights = {name: array.astype(np.float64) for name, array in trained_scale(settings, head, seed)}
    table, rates = parameters(settings, head), recipe.learning_rates(steps)
    first = {name: np.zeros_like(array) for name, array in weights.items()}
    second = {name: np.zeros_like(array) for name, array in weights.items()}
    curve = []
    for step in range(steps):
        found = reference_losses(settings, head, weights, batches[step])
        curve.append({name: value for name, (value, _) in found.items()})
        gradients = {
            name: objective({loss: parts[name] for loss, (_, parts) in found.items()}, recipe.lm_coefficient)
            for name in weights
        }
        norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
        scale = min(1.0, (recipe.max_grad_norm or np.inf) / norm)
        for name, gradient in gradients.items():
            gradient = gradient * scale
            first[name] += (1 - recipe.adam_beta1) * (gradient - first[name])
            second[name] += (1 - recipe.adam_beta2) * (gradient**2 - second[name])
            mean = first[name] / (1 - recipe.adam_beta1 ** (step + 1))
            root = np.sqrt(second[name] / (1 - recipe.adam_beta2 ** (step + 1)))
            decay = recipe.weight_decay * weights[name] if table[name].kind.decays else 0.0
            weights[name] = weights[name] - rates[step] * (mean / (root + recipe.adam_epsilon) + decay)
    return curve, weights


def trainer_of(backend, *arguments, **options):
    """A trainer of the package of a backend, which may be a copy with a planted defect."""
    package = type(backend).__module__.rpartition(".")[0]
    return importlib.import_module(f"{package}.training").load_trainer(*arguments, **options)


def free_port():
    """A port of this machine that nobody listens at."""
    with socket.socket() as opened:
        opened.bind(("localhost", 0))
        return opened.getsockname()[1]


HEADS = {"lm": Head.LM, **{name: task.head for name, task in TASKS.items()}}
