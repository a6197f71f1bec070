"""The model card, ``README.md``, generated from the files of a checkpoint only."""

from __future__ import annotations

import html

from gptcore.checkpoint.formats import FORMATS
from gptcore.checkpoint.opening import Checkpoint, other_files, source_folder
from gptcore.release import PRODUCER
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head, parameters
from gptcore.storage.cards import LOADING, SOURCE_CARD_NAME, seal

TOKENIZER_FILES = {"vocab.json", "tokenizer.json", "encoder_bpe_40000.json"}
"""A folder with one of these has a tokenizer."""

PIPELINE_TAGS = {Head.LM: "text-generation", Head.SEQUENCE_CLASSIFICATION: "text-classification"}
PURPOSE = {
    Head.NONE: "the trunk without a head, which turns token ids into hidden states",
    Head.LM: "the language model, which predicts the next token",
    Head.DOUBLE_HEADS: "the language model with a second head, which scores each of several choices",
    Head.SEQUENCE_CLASSIFICATION: "the trunk with a head that classifies or scores a sequence",
}
CALL = {
    Head.NONE: "model(input_ids).last_hidden_state",
    Head.LM: "model.generate(input_ids, max_new_tokens={new})",
    Head.DOUBLE_HEADS: "model(input_ids).mc_logits",
    Head.SEQUENCE_CLASSIFICATION: "model(input_ids).logits",
}
FRAMEWORKS = (  # title, import, package, prefix of the classes, function that creates an array
    ("PyTorch", "import torch", "gpt_torch", "", "torch.tensor"),
    ("Keras on TensorFlow", "import tensorflow as tf", "gpt_tf", "TF", "tf.constant"),
    ("Flax", "import jax.numpy as jnp", "gpt_flax", "Flax", "jnp.array"),
)
PICKLES = {form.container for form in FORMATS.values() if form.is_pickle}
"""The formats that are read only if the user allows pickles, as ``Checkpoint.form`` names them."""

SHOWN_LABELS = 20
MARKDOWN = {ord(character): f"&#{ord(character)};" for character in "|`*[]\\~"}


def model_card(
    config: OpenAIGPTConfig,
    head: Head,
    *,
    form: str,
    dtype: str,
    has_tokenizer: bool = False,
    has_source_card: bool = False,
    history: str = "",
) -> str:
    """The text of a model card; a checkpoint always gives the same text.

    Args:
        config: The config of the model.
        head: The head of the model.
        form: The format of the weights, such as ``safetensors``.
        dtype: The dtype of the weights in the files.
        has_tokenizer: Whether the folder has the tokenizer's files.
        has_source_card: Whether the folder has a hand-written card of the source of a conversion.
        history: Sentences about where the weights come from.

    Returns:
        Markdown with YAML front matter, as the hub expects. No license: the files of a checkpoint name none.

    >>> card = model_card(OpenAIGPTConfig(), Head.LM, form="safetensors", dtype="float32")
    >>> "| parameters | 116,534,784 |" in card
    True
    """
    size = sum(parameter.size for parameter in parameters(config, head).values())
    rows = {
        "class": f"`{head.architecture}`",
        "layers, width, heads": f"{config.n_layer}, {config.n_embd}, {config.n_head}",
        "positions": f"{config.n_positions:,}",
        "vocabulary": f"{config.vocab_size:,}",
        "activation": f"`{config.afn}`",
        "parameters": f"{size:,}",
        "weights": f"{form}, {dtype}",
    }
    if head is Head.SEQUENCE_CLASSIFICATION:
        rows["labels"] = _labels(config)
    unstated = "the training data, the evaluation results, the intended use or the license"
    note = (
        f"The card of the source, [{SOURCE_CARD_NAME}]({SOURCE_CARD_NAME}), may state {unstated}."
        if has_source_card
        else f"The checkpoint does not state {unstated}; its author should add them here."
    )
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    text = f"""---
{_front_matter(head, form)}
---

# {head.architecture}, {size:,} parameters

OpenAI GPT-1 (Radford et al., *Improving Language Understanding by Generative Pre-Training*, 2018):
{PURPOSE[head]}.

| | |
|---|---|
{table}

## Where it comes from

{" ".join(filter(None, (f"Written by {PRODUCER}.", history)))}

## How to load it

{_examples(config, head, form, dtype, has_tokenizer)}
## Limits

The model reads at most {config.n_positions:,} tokens at a time. {note}

"""
    return text + seal(text)


def _labels(config: OpenAIGPTConfig) -> str:
    """The labels for a cell of the table: their names in the order of their numbers, escaped."""
    if config.problem_type == "regression":
        return "none: a score" if config.num_labels == 1 else f"none: {config.num_labels:,} scores"
    names = [config.id2label[i] for i in range(min(config.num_labels, SHOWN_LABELS))]
    shown = [html.escape(" ".join(name.split())).translate(MARKDOWN) for name in names]
    return f"{config.num_labels:,}: {', '.join(shown)}{', ...' if config.num_labels > SHOWN_LABELS else ''}"


def _front_matter(head: Head, form: str) -> str:
    from huggingface_hub import ModelCardData  # slow to import

    data = ModelCardData(library_name="gptcore", pipeline_tag=PIPELINE_TAGS.get(head), tags=["openai-gpt", "gpt", form])
    return data.to_yaml()


def _examples(config: OpenAIGPTConfig, head: Head, form: str, dtype: str, has_tokenizer: bool) -> str:
    """A code block for each framework, and one for the tokenizer."""
    ids = [i % config.vocab_size for i in range(min(3, config.n_positions))]
    shown: object = [[ids, ids[::-1]]] if head is Head.DOUBLE_HEADS else [ids]
    call = CALL[head].format(new=max(1, min(20, config.n_positions - len(ids))))
    options = ', dtype="auto"' if dtype != "float32" else ""
    options += ", allow_pickle=True" if form in PICKLES else ""
    blocks = [
        f"{title}:\n\n```python\n{imported}\nfrom {package} import {prefix}{head.architecture}\n\n"
        f'model = {prefix}{head.architecture}{LOADING}"."{options})\n'
        f"input_ids = {array}({shown})\nprint({call})\n```\n"
        for title, imported, package, prefix, array in FRAMEWORKS
    ]
    if has_tokenizer:
        # A tokenizer with a task may accept pairs only.
        plain = "" if head in (Head.NONE, Head.LM) else ", add_special_tokens=False"
        blocks.append(
            "Text to ids:\n\n```python\nfrom tokenization import OpenAIGPTTokenizerFast\n\n"
            f'tokenizer = OpenAIGPTTokenizerFast{LOADING}".")\n'
            f'print(tokenizer("the cat sat on the mat"{plain}).input_ids)\n```\n'
        )
    return "\n".join(blocks)


def card_of(checkpoint: Checkpoint, history: str = "") -> str:
    """The model card of a checkpoint, with ``history`` as in ``model_card``."""
    names = other_files(source_folder(checkpoint))
    return model_card(
        checkpoint.config,
        checkpoint.head,
        form=checkpoint.form,
        dtype=checkpoint.dtype,
        has_tokenizer=not TOKENIZER_FILES.isdisjoint(names),
        has_source_card=SOURCE_CARD_NAME in names,
        history=history,
    )
