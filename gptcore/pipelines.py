"""Pipelines: load a model for a task in any framework, then call it with texts, as in transformers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from gptcore.backends import load_backend, require
from gptcore.errors import ConfigError, InputError
from gptcore.generation import GenerationConfig, GenerationSettings, settled, stream_text
from gptcore.generation.prompt import check_room
from gptcore.release import DEFAULT_MODEL
from gptcore.settings import is_integer, passes_on, unknown
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head
from gptcore.spec.tasks import EXTRACT, TASKS, choice_columns
from gptcore.storage import tables
from gptcore.training.examples import LENGTH_STEP, TaskExamples
from tokenization import OpenAIGPTTokenizerFast

Row = Mapping[str, Any]

TASK_OF = {
    "text-classification": "classify",
    "entailment": "entail",
    "similarity": "similarity",
    "multiple-choice": "choice",
}
"""Name of a pipeline -> its task in ``gptcore.training.TASKS``; ``gptcore train`` fine-tunes a model for each."""


def pipeline(
    task: str = "text-generation",
    model: str = DEFAULT_MODEL,
    *,
    backend: str = "torch",
    tokenizer: str | None = None,
    dtype: str = "float32",
    batch_size: int = 8,
) -> TextGeneration | Scoring | Prediction:
    """Load a model and its tokenizer for a task.

    Args:
        task: ``"text-generation"``, ``"score"``, ``"text-classification"``, ``"entailment"``, ``"similarity"`` or
            ``"multiple-choice"``.
        model: A folder, a run of ``gptcore train``, or a repository of the hub. Default: the bundled model, which can
            generate and score.
        backend: The framework that computes: ``"torch"`` (default), ``"tf"`` or ``"flax"``.
        tokenizer: A folder or a repository with a tokenizer. Default: that of the model.
        dtype: The dtype of the weights: ``"float32"`` (default), ``"float64"``, ``"bfloat16"`` or ``"float16"``.
        batch_size: The number of inputs to compute at a time. Default: 8.

    Returns:
        A ``TextGeneration``, a ``Scoring`` or a ``Prediction``: call it with a text or a list of texts.

    Raises:
        ConfigError: The task is unknown, or the model was not fine-tuned for it.
        GPTError: The framework is not installed.
        CheckpointError, StorageError: The model cannot be read.

    >>> write = pipeline("text-generation")
    >>> write("Once upon a time", max_new_tokens=5)
    [{'generated_text': 'once upon a time there was a great deal'}]
    """
    tasks = ("text-generation", "score", *TASK_OF)
    problems = list(unknown([task], tasks))
    if problems:
        raise ConfigError(f"task must be one of {', '.join(tasks)}; got {task!r}.")
    words = OpenAIGPTTokenizerFast.from_pretrained(tokenizer or model)
    if task in TASK_OF and EXTRACT not in words.get_vocab():
        raise ConfigError(
            f"model must be fine-tuned for {task}; got {model!r}, whose tokenizer lacks the token "
            f"{EXTRACT!r}. Fine-tune it: gptcore train {TASK_OF[task]} FILES --model MODEL --output RUN."
        )
    if task in TASK_OF and words.task not in (None, TASK_OF[task]):
        raise ConfigError(
            f"model must be fine-tuned for {task} (gptcore train {TASK_OF[task]}); got {model!r}, fine-tuned for "
            f"{words.task}. Pass another model or task."
        )
    head = TASKS[TASK_OF[task]].head if task in TASK_OF else Head.LM
    chosen = load_backend(backend)
    if task == "text-generation":
        require(chosen, "generate")
    loaded = chosen.load(model, head, dtype=dtype)
    if task == "text-generation":
        return TextGeneration(loaded, words, batch_size)
    if task == "score":
        return Scoring(loaded, words, batch_size)
    return Prediction(TASK_OF[task], loaded, words, batch_size)


class TextGeneration:
    """Continue texts.

    Args:
        model: A ``BackendModel`` with the language-modelling head.
        tokenizer: A tokenizer of ``tokenization``.
        batch_size: The number of texts to continue at a time. Default: 8.
    """

    def __init__(self, model: Any, tokenizer: Any, batch_size: int = 8) -> None:
        self.model, self.tokenizer, self.batch_size = model, tokenizer, batch_size

    @passes_on(GenerationConfig)
    def __call__(
        self,
        texts: Any,
        *,
        return_full_text: bool = True,
        readable: bool = True,
        generation_config: GenerationConfig | None = None,
        streamer: Any = None,
        **settings: Unpack[GenerationSettings],
    ) -> Any:
        """Continue a text, or each of a list.

        Args:
            texts: A text, or a list of texts.
            return_full_text: Whether the result begins with the prompt. Default: true.
            readable: Whether to remove the spaces that the model puts around punctuation. Default: true.
            generation_config: Base settings, overridden by ``settings``. Default: the model's.
            streamer: Receives the ids of a single text as they are generated, as in ``generate``. Default: none.
            settings: Settings of ``GenerationConfig``, such as ``max_new_tokens``, ``do_sample`` and ``seed``.

        Returns:
            A list of ``num_return_sequences`` dicts ``{"generated_text": ...}``; for a list of texts, a list of such
            lists.

        Raises:
            InputError: A text has no tokens, or too many for the model; the error names its position.
        """
        single = isinstance(texts, str)
        config = settled(self.model.config, generation_config or self.model.generation_config, settings)
        if config.return_dict_in_generate:
            raise InputError("return_dict_in_generate must be False in a pipeline; got True. Use model.generate.")
        prompts = (
            [self._prompt(texts, "text", config)]
            if single
            else [self._prompt(text, f"texts[{i}]", config) for i, text in enumerate(listed(texts, "texts"))]
        )
        answers: list[list[dict[str, str]]] = []
        for start in range(0, len(prompts), self.batch_size):
            rows = prompts[start : start + self.batch_size]
            ids, mask = left_padded(rows)
            options = {"generation_config": config, "streamer": streamer, "tokenizer": self.tokenizer}
            new = np.asarray(self.model.generate(ids, mask, **options))[:, ids.shape[1] :]
            returned = len(new) // len(rows)
            for i, row in enumerate(rows):
                prompt = row if return_full_text else []
                group = new[i * returned : (i + 1) * returned].tolist()
                answers.append([{"generated_text": self._text([*prompt, *ids], readable)} for ids in group])
        return answers[0] if single else answers

    @passes_on(GenerationConfig)
    def stream(
        self,
        text: str,
        *,
        readable: bool = True,
        generation_config: GenerationConfig | None = None,
        **settings: Unpack[GenerationSettings],
    ) -> Iterator[str]:
        """Yield the continuation of one text, in whole words as they are generated.

        Args:
            text: The prompt.
            readable: Whether to remove the spaces that the model puts around punctuation. Default: true.
            generation_config: Base settings, overridden by ``settings``. Default: the model's.
            settings: Settings of ``GenerationConfig``.
        """
        config = settled(self.model.config, generation_config or self.model.generation_config, settings)
        ids = np.array([self._prompt(text, "text", config)], np.int64)
        yield from stream_text(self.model, self.tokenizer, ids, readable=readable, generation_config=config)

    def _prompt(self, text: Any, name: str, config: GenerationConfig) -> list[int]:
        """The ids of a prompt; raises an ``InputError`` if the model has no room to continue it."""
        ids = encoded(self.tokenizer, text, name)
        try:
            check_room(self.model.config, config, len(ids))
        except InputError as cause:
            raise InputError(f"{name}: {cause}") from cause
        return ids

    def _text(self, ids: Sequence[int], readable: bool) -> str:
        text: str = self.tokenizer.decode(ids, skip_special_tokens=True, readable=readable)
        return text


class Scoring:
    """Compute the log-probability and the perplexity of texts.

    Args:
        model: A ``BackendModel`` with the language-modelling head.
        tokenizer: A tokenizer of ``tokenization``.
        batch_size: The number of texts to score at a time. Default: 8.
    """

    def __init__(self, model: Any, tokenizer: Any, batch_size: int = 8) -> None:
        self.model, self.tokenizer, self.batch_size = model, tokenizer, batch_size

    def __call__(self, texts: Any) -> Any:
        """Score a text, or each of a list.

        The first token has no context, so it is not scored.

        Args:
            texts: A text, or a list of texts, each of 2 to ``n_positions`` tokens.

        Returns:
            A dict, or a list of them: ``log_probability``, the natural logarithm of the probability of the text;
            ``tokens``, the number of tokens that are scored; ``perplexity``.

        Raises:
            InputError: A text has too few or too many tokens; the error names its position.
        """
        single = isinstance(texts, str)
        rows = []
        for i, text in enumerate([texts] if single else listed(texts, "texts")):
            name = "text" if single else f"texts[{i}]"
            row = encoded(self.tokenizer, text, name)
            if not 2 <= len(row) <= self.model.config.n_positions:
                raise InputError(f"{name} must have 2 to {self.model.config.n_positions} tokens; got {len(row)}.")
            rows.append(row)
        scores = []
        for start in range(0, len(rows), self.batch_size):
            ids, mask = right_padded(rows[start : start + self.batch_size], self.model.config)
            logits = self.model.forward({"input_ids": ids, "attention_mask": mask})["logits"].astype(np.float64)
            top = logits.max(-1, keepdims=True)
            logits -= top + np.log(np.exp(logits - top).sum(-1, keepdims=True))
            each = np.take_along_axis(logits[:, :-1], ids[:, 1:, None], axis=-1)[..., 0] * mask[:, 1:]
            for total, count in zip(each.sum(-1).tolist(), mask[:, 1:].sum(-1).tolist(), strict=True):
                perplexity = math.exp(min(-total / count, 700.0))
                scores.append({"log_probability": total, "tokens": count, "perplexity": perplexity})
        return scores[0] if single else scores


class Prediction:
    """Label texts with a fine-tuned model. The pipeline adds the task's tokens to each text.

    Args:
        task: A name in ``gptcore.training.TASKS``.
        model: A ``BackendModel`` with the head of the task.
        tokenizer: A tokenizer of ``tokenization``, with the special tokens of the task.
        batch_size: The number of inputs to compute at a time. Default: 8.
    """

    def __init__(self, task: str, model: Any, tokenizer: Any, batch_size: int = 8) -> None:
        self.task, self.model, self.tokenizer, self.batch_size = task, model, tokenizer, batch_size

    def __call__(self, inputs: Any, *, top_k: int | None = 1) -> Any:
        """Label an input, or each of a list.

        Args:
            inputs: For ``classify`` a text; for ``entail`` and ``similarity`` a pair ``(text, text)``; for ``choice``
                ``(context, [choice, choice, ...])``; or a dict with the columns of the task; or a list of these.
            top_k: The number of labels to return for each input. Default: 1; ``None`` for all.

        Returns:
            For each input, a list of at most ``top_k`` dicts ``{"label": ..., "score": ...}``, the highest score first.
            As in transformers, the score is the softmax over the labels; it is the sigmoid if several labels can be
            true (``problem_type``) or the model has one label, and the output itself for a regression. A regression
            model with one output gives ``{"score": ...}`` alone. A list of inputs gives a list of these.

        Raises:
            InputError, DataError: An input does not fit the task; the error names its position.
        """
        single = isinstance(inputs, (Mapping, str if self.task == "classify" else tuple))
        items = {"input": inputs} if single else {f"inputs[{i}]": x for i, x in enumerate(listed(inputs, "inputs"))}
        rows = [row_of(self.task, item, name) for name, item in items.items()]
        answers: list[Any] = [None] * len(rows)
        columns = [choices_of(row) if self.task == "choice" else None for row in rows]
        for group in dict.fromkeys(columns):  # inputs with the same number of choices
            places = [i for i, names in enumerate(columns) if names == group]
            for i, answer in zip(places, self.answers([rows[i] for i in places], group, top_k=top_k), strict=True):
                answers[i] = answer
        return answers[0] if single else answers

    def answers(self, rows: Sequence[Row], columns: Sequence[str] | None = None, *, top_k: int | None = 1) -> list[Any]:
        """As ``__call__``, for rows of a table with the given columns."""
        if top_k is not None and (not is_integer(top_k) or top_k < 1):
            raise InputError(f"top_k must be a whole number of at least 1, or None for all labels; got {top_k!r}.")
        logits = self.logits(rows, columns)
        kind = "choice" if self.task == "choice" else self.model.config.problem_type
        if kind == "regression" and logits.shape[1] == 1:
            return [{"score": score} for score in logits[:, 0].tolist()]
        answers = []
        for row in logits.astype(np.float64):
            scores = scores_of(row, kind)
            order = np.argsort(-row, kind="stable")[:top_k]
            answers.append([{"label": self.label(int(i)), "score": float(scores[i])} for i in order])
        return answers

    def label(self, index: int) -> str:
        """The name of a class, or the number of a choice."""
        return str(index) if self.task == "choice" else str(self.model.config.id2label[index])

    def logits(self, rows: Sequence[Row], columns: Sequence[str] | None = None) -> NDArray[Any]:
        """The logits of the head for each row, (rows, classes)."""
        if columns is None and self.task == "choice":
            columns = choices_of(rows[0])
        config = self.model.config
        examples = TaskExamples(self.task, rows, self.tokenizer, config, columns, labelled=False)
        logits_of_batches = []
        for start in range(0, len(examples), self.batch_size):
            batch = examples.collate([examples[i] for i in range(start, min(start + self.batch_size, len(examples)))])
            ids, ends = batch["input_ids"], batch["extract_positions"]
            if self.task == "choice":
                logits_of_batches.append(self.model.forward({"input_ids": ids, "mc_token_ids": ends})["mc_logits"])
                continue
            mask = (np.arange(ids.shape[-1]) <= ends[..., None]).astype(np.int64)
            inputs = {"input_ids": ids.reshape(-1, ids.shape[-1]), "attention_mask": mask.reshape(-1, ids.shape[-1])}
            logits = self.model.forward(inputs)["logits"]
            logits_of_batches.append(logits.reshape(*ends.shape, -1).reshape(len(ends), -1, logits.shape[-1]).sum(1))
        return np.concatenate(logits_of_batches)


def scores_of(logits: NDArray[np.float64], kind: str | None) -> NDArray[np.float64]:
    """Scores of the labels of one input for a ``problem_type`` or ``"choice"``, as in transformers. (K,) -> (K,)."""
    if kind == "regression":
        return logits
    if kind == "multi_label_classification" or (len(logits) == 1 and kind != "choice"):
        return (1 + np.tanh(logits / 2)) / 2  # the sigmoid, without overflow
    weights = np.exp(logits - logits.max())
    probabilities: NDArray[np.float64] = weights / weights.sum()
    return probabilities


def listed(inputs: Any, name: str) -> Iterable[Any]:
    """The inputs of a call; raises an ``InputError`` if they cannot be iterated over, or are a mapping."""
    if isinstance(inputs, Mapping) or not isinstance(inputs, Iterable):
        raise InputError(f"{name} must be one input or a list of inputs; got {type(inputs).__name__}.")
    return inputs


def row_of(task: str, item: Any, name: str) -> tables.Row:
    """An input of a pipeline as a row of its task; ``name`` is what errors call it."""
    if isinstance(item, Mapping):
        return tables.Row(item, name)
    if task == "classify":
        return tables.Row({"text": item}, name)
    if task == "choice" and isinstance(item, (tuple, list)) and len(item) == 2 and not isinstance(item[1], str):
        context, choices = item[0], list(item[1])
        return tables.Row(dict(zip(choice_columns(len(choices)), (context, *choices), strict=True)), name)
    if task != "choice" and isinstance(item, (tuple, list)) and len(item) == 2:
        return tables.Row(dict(zip(TASKS[task].columns, item, strict=True)), name)
    shape = "(context, [choice, choice, ...])" if task == "choice" else "(text, text)"
    raise InputError(f"{name} must be {shape}, or a dict with the columns of the task; got {item!r:.80}.")


def choices_of(row: Row) -> tuple[str, ...]:
    """The columns of a multiple-choice input: the context, and as many choices as it has."""
    count = next(i for i in itertools.count() if f"choice{i + 1}" not in row)
    if count < 2:
        raise InputError(f"{getattr(row, 'place', 'input')} must have at least 2 choices; got {count}.")
    return choice_columns(count)


def encoded(tokenizer: Any, text: Any, name: str) -> list[int]:
    """The token ids of one text; raises an ``InputError`` if there are none."""
    if not isinstance(text, str):
        raise InputError(f"{name} must be a str; got {type(text).__name__}.")
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    if not ids:
        raise InputError(f"{name} must have at least one token; got {text!r:.80}.")
    return ids


def left_padded(rows: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and mask (B, T), padded on the left, as generation needs."""
    width = max(map(len, rows))
    ids, mask = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.int64)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :], mask[i, width - len(row) :] = row, 1
    return ids, mask


def right_padded(rows: Sequence[Sequence[int]], config: OpenAIGPTConfig) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and mask (B, T), padded on the right to a multiple of 32, so that similar lengths share a program."""
    width = min(-(-max(map(len, rows)) // LENGTH_STEP) * LENGTH_STEP, config.n_positions)
    ids, mask = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row)], mask[i, : len(row)] = row, 1
    return ids, mask
