"""Text in place of ids, where users of Keras expect it: ``generate``, ``fit``, ``evaluate`` and ``predict``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gptcore.checkpoint.folder import folder_of
from gptcore.errors import GPTError, InputError
from gptcore.spec.parameters import Head
from gptcore.spec.tasks import check_texts

if TYPE_CHECKING:
    from keras import Model

    from gpt_tf.heads import TFOpenAIGPTLMHeadModel
    from gptcore.generation import GenerationConfig
else:
    Model = object  # ``ReadsText`` is mixed into a model

Source = tuple[Any, ...]  # path or repository, then the options that locate it there


class ReadsText(Model):
    """A model with a tokenizer."""

    _tokenizer: Any = None
    _tokenizer_source: Source | None = None

    @property
    def tokenizer(self) -> Any:
        """The tokenizer that was set or, after ``from_pretrained``, the one beside the weights, loaded on first use.

        Raises:
            InputError: The model has no tokenizer.
        """
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(self._tokenizer_source)
        return self._tokenizer

    def __setattr__(self, name: str, value: Any) -> None:
        """Keras reads an attribute before it sets it, which would load a tokenizer only to replace it."""
        if name == "tokenizer" and not callable(value):
            raise InputError(
                f"tokenizer must be a tokenizer; got {type(value).__name__}. Pass "
                "OpenAIGPTTokenizerFast.from_pretrained(FOLDER)."
            )
        super().__setattr__("_tokenizer" if name == "tokenizer" else name, value)

    def with_ids(self, x: Any) -> Any:
        """Texts, or a pair of lists of texts, as a dict of ids and mask, padded on the right; other inputs unchanged.

        The tokens of the tokenizer's ``task`` are added, and texts are cut to ``n_positions`` tokens.
        """
        columns = columns_of(x)
        if columns is None:
            return x
        from gptcore.pipelines import right_padded  # imports tokenizers, which ids do not need

        if self.head is Head.DOUBLE_HEADS:
            check_texts("choice", len(columns))
        settings = {"truncation": True, "max_length": self.config.n_positions}
        rows = self.tokenizer(*columns, **settings).input_ids
        for i, row in enumerate(rows):
            if not row:
                raise InputError(f"texts[{i}] must have at least one token; got {columns[0][i]!r:.80}.")
        ids, mask = right_padded(rows, self.config)
        return {"input_ids": ids, "attention_mask": mask}


def source_of(path_or_repo_id: str | Path, location: Mapping[str, Any]) -> Source:
    """The source to load a tokenizer from later: the folder of a checkpoint, or a repository."""
    path = Path(path_or_repo_id)
    return (str(folder_of(path.resolve())) if path.exists() else str(path_or_repo_id), *location.items())


def load_tokenizer(source: Source | None) -> Any:
    """Load the tokenizer from the result of ``source_of``."""
    from tokenization import OpenAIGPTTokenizerFast

    advice = "Set model.tokenizer = OpenAIGPTTokenizerFast.from_pretrained(FOLDER), or pass ids."
    if source is None:
        raise InputError(f"cannot read text: a model not loaded by from_pretrained has no tokenizer. {advice}")
    path_or_repo_id, *location = source
    try:
        return OpenAIGPTTokenizerFast.from_pretrained(path_or_repo_id, **dict(location))
    except GPTError as cause:
        raise InputError(f"cannot read text: {str(cause).rstrip('.')}. {advice}") from cause


def is_texts(x: Any) -> bool:
    """Whether this is a list, tuple, array or column of text."""
    if isinstance(x, tf.__internal__.EagerTensor):
        return x.dtype == tf.string and len(x.shape) == 1
    is_array = getattr(getattr(x, "dtype", None), "kind", None) in ("U", "O") and len(x.shape) == 1
    return (is_array or isinstance(x, (list, tuple))) and len(x) > 0 and isinstance(next(iter(x)), str)


def columns_of(x: Any) -> list[list[str]] | None:
    """One or two lists of text, if the inputs are text."""
    if isinstance(x, str):
        return [[x]]
    if is_texts(x):
        return [strings(x)]
    if not isinstance(x, (list, tuple)) or not x or not all(map(is_texts, x)):
        return None
    if len(x) != 2 or any(isinstance(column, tuple) for column in x):
        raise InputError(
            f"pairs of texts must be two lists, as in tokenizer(texts, text_pairs); got {len(x)} rows. "
            "Pass tuple(map(list, zip(*pairs)))."
        )
    return [strings(column) for column in x]


def strings(column: Any) -> list[str]:
    """A column of text as a list; TensorFlow has bytes."""
    return [text.decode() for text in column.numpy()] if tf.is_tensor(column) else list(column)


def continued(
    model: TFOpenAIGPTLMHeadModel,
    texts: Any,
    attention_mask: Any,
    generation_config: GenerationConfig | None,
    streamer: Any,
    tokenizer: Any,
    settings: Mapping[str, Any],
) -> str | list[str]:
    """``TFOpenAIGPTLMHeadModel.generate`` for a text or a list of texts."""
    from gptcore.pipelines import TextGeneration

    if tf.inside_function():
        raise InputError("prompts must be ids inside tf.function; got text. Call model.tokenizer outside of it.")
    if attention_mask is not None:
        raise InputError("attention_mask must be None for text; got a mask. Leave it out, or pass ids.")
    texts = texts if isinstance(texts, str) else strings(texts)
    write = TextGeneration(model, tokenizer or model.tokenizer, batch_size=len(texts) or 1)
    answers = write(texts, generation_config=generation_config, streamer=streamer, **settings)
    rows = [answers] if isinstance(texts, str) else answers
    generated = [answer["generated_text"] for row in rows for answer in row]
    return generated[0] if isinstance(texts, str) and len(generated) == 1 else generated
