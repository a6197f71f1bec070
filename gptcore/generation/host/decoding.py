"""Decoding on the host, over a ``Stepper``; ``beams`` has beam search, ``contrastive`` contrastive search."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.generation.config import GenerationConfig
from gptcore.generation.host.beams import beam_search
from gptcore.generation.host.contrastive import ContrastiveSearch
from gptcore.generation.host.processors import process
from gptcore.generation.host.search import NOTHING, DecodeText, Search, check_selected, holds_stop
from gptcore.generation.host.stepper import Logits, Stepper
from gptcore.generation.prompt import Ids, Prompt
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.outputs import ModelOutput


class GenerateOutput(ModelOutput):
    """The result of ``generate`` with ``return_dict_in_generate``; fields are read like those of a model output.

    Attributes:
        sequences: Ids of prompt and continuation, (B, T + N); rows that have ended are filled.
        scores: With ``output_scores``, the processed logits (B, V) of each step.
        sequences_scores: With beam search, the score of each sequence, (B,).
    """

    fields = ("sequences", "scores", "sequences_scores")
    sequences: Ids
    scores: tuple[Logits, ...] | None
    sequences_scores: NDArray[np.float32] | None


def decode(
    stepper: Stepper,
    model: OpenAIGPTConfig,
    config: GenerationConfig,
    prompt: Prompt,
    *,
    on_tokens: Callable[[Ids], Any] | None = None,
    decode_text: DecodeText | None = None,
) -> GenerateOutput:
    """Continue prompts with the method that the settings select.

    Args:
        stepper: The model.
        model: The config of the model.
        config: The settings.
        prompt: The checked prompts.
        on_tokens: A function that is called with the new tokens (B,) of each step, except in beam search.
        decode_text: A function that decodes ids to text, for ``stop_strings``.
    """
    if config.num_beams > 1:
        sequences, sequences_scores = beam_search(stepper, config, prompt, decode_text)
        return GenerateOutput(sequences=sequences, sequences_scores=sequences_scores)
    prompt = prompt.repeated(config.num_return_sequences)
    steps = list(_steps(stepper, model, config, prompt, on_tokens, decode_text))
    sequences = np.concatenate([prompt.input_ids, *(tokens[:, None] for tokens, _ in steps)], axis=1)
    scores = tuple(scores for _, scores in steps) if config.output_scores else None
    return GenerateOutput(sequences=sequences, scores=scores)


def _steps(
    stepper: Stepper,
    model: OpenAIGPTConfig,
    config: GenerationConfig,
    prompt: Prompt,
    on_tokens: Callable[[Ids], Any] | None,
    decode_text: DecodeText | None,
) -> Iterator[tuple[Ids, Logits]]:
    """Yield the new tokens (B,) and the scores (B, V) of each step until every row has ended."""
    rows = prompt.rows()
    starts = [len(row) for row in rows]
    columns = prompt.length
    running = np.ones(len(rows), bool)
    search = (Search if config.penalty_alpha is None else ContrastiveSearch)(stepper, config)
    logits = search.start(prompt.input_ids, prompt.attention_mask, _capacity(model, prompt))
    for new in range(prompt.max_new_tokens):
        scores = process(config, logits, rows, new, prompt.length)
        tokens = np.where(running, search.choose(scores, new), config.fill_token_id)
        check_selected(tokens != NOTHING)
        if on_tokens is not None:
            on_tokens(tokens)
        yield tokens, scores
        rows = [np.append(row, token) for row, token in zip(rows, tokens, strict=True)]
        running &= ~np.isin(tokens, config.eos_token_ids)
        stopped = [holds_stop(config, decode_text, row[start:]) for row, start in zip(rows, starts, strict=True)]
        running &= ~np.array(stopped)
        if not running.any() or new + 1 == prompt.max_new_tokens:
            return
        if columns == model.n_positions:
            ids, mask = _last_half(model, rows)
            logits, columns = search.start(ids, mask, model.n_positions), ids.shape[1]
        else:
            logits = search.advance(tokens)
            columns += 1


def _capacity(model: OpenAIGPTConfig, prompt: Prompt) -> int:
    return min(prompt.length + prompt.max_new_tokens, model.n_positions)


def _last_half(model: OpenAIGPTConfig, rows: list[Ids]) -> tuple[Ids, NDArray[np.bool_]]:
    """Ids and mask of the last ``n_positions // 2`` tokens of each row, or fewer if a row is shorter."""
    tails = [row[-max(model.n_positions // 2, 1) :] for row in rows]
    width = max(map(len, tails))
    ids, mask = np.zeros((len(tails), width), np.int64), np.zeros((len(tails), width), bool)
    for i, row in enumerate(tails):
        ids[i, : len(row)], mask[i, : len(row)] = row, True
    return ids, mask
