"""``GenerationConfig``: how to generate, under transformers' names and defaults, validated once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, TypedDict, Unpack

from gptcore.idioms import GENERATING, without_idioms
from gptcore.settings import Settings, boolean, choice, integer, is_integer, passes_on, real
from gptcore.spec.config import GENERATION_CONFIG_NAME, read_json_object
from gptcore.storage.atomic import atomic_write, make_folder

CONTEXTS = ("error", "sliding")
MAX_SEED = 2**32 - 1


class GenerationSettings(TypedDict, total=False):
    """The settings of ``GenerationConfig`` as keywords of ``generate``, for editors."""

    max_length: int
    max_new_tokens: int | None
    min_length: int
    min_new_tokens: int | None
    do_sample: bool
    temperature: float
    top_k: int
    top_p: float
    min_p: float | None
    typical_p: float
    num_beams: int
    length_penalty: float
    early_stopping: bool | str
    no_repeat_ngram_size: int
    repetition_penalty: float
    bad_words_ids: Sequence[Sequence[int]] | None
    penalty_alpha: float | None
    num_return_sequences: int
    eos_token_id: int | Sequence[int] | None
    pad_token_id: int | None
    stop_strings: str | Sequence[str] | None
    output_scores: bool
    return_dict_in_generate: bool
    use_cache: bool
    seed: int
    context: str
    extra: Mapping[str, Any]


@dataclass(kw_only=True)
class GenerationConfig(Settings):
    """Settings of ``generate``.

    Args:
        max_length: Maximum number of columns of the result: the prompt, with its padding, and the continuation.
            Default: 20. Ignored if ``max_new_tokens`` is set.
        max_new_tokens: Maximum number of tokens of the continuation. Default: ``max_length`` minus the
            columns of the prompt.
        min_length: Minimum number of columns of prompt, with its padding, and continuation before the text may end.
            Default: 0.
        min_new_tokens: Minimum number of tokens of the continuation before the text may end. Default: none.
        do_sample: Whether to sample tokens instead of selecting the most likely one. Default: false.
        temperature: Sampling temperature, by which the logits are divided; must be above 0. Lower is more predictable.
        top_k: Number of most likely tokens to sample from. Default: 50; 0 for all.
        top_p: Sample from the smallest set of tokens whose probabilities add up to this; in (0, 1]. Default: 1, all.
        min_p: Sample from tokens whose probability is at least this fraction of the largest one; in [0, 1].
            Default: ``None``, all.
        typical_p: Rank tokens by how close their -log(probability) is to the entropy of the distribution, and sample
            from the first ones whose probabilities add up to this; in (0, 1]. Default: 1, all.
        num_beams: Number of hypotheses of beam search. Default: 1, no beam search.
        length_penalty: Beam search divides the log-probability of a hypothesis by its length to this power. Default: 1.
        early_stopping: When beam search ends: when ``num_beams`` hypotheses are complete (``True``), when a better one
            is unlikely (``False``, the default), or when a better one is impossible (``"never"``).
        no_repeat_ngram_size: Length of token sequences that never repeat. Default: 0, off.
        repetition_penalty: Penalty for tokens that already occurred; must be above 0. Values above 1 make them less
            likely. Default: 1, off.
        bad_words_ids: Sequences of token ids that never occur. Default: none.
        penalty_alpha: Weight in contrastive search among the ``top_k`` most likely tokens, in [0, 1]: 0 ranks them by
            probability only, 1 by dissimilarity to the context only. Default: ``None``, no contrastive search.
        num_return_sequences: Number of continuations per prompt. Default: 1.
        eos_token_id: Id, or list of ids, that ends a text. Default: none.
        pad_token_id: Id that fills rows that have ended and, if no attention mask is passed, marks padding in prompts
            (unless it also ends a text). Default: none; rows are then filled with the first ``eos_token_id``.
        stop_strings: A string, or a list of strings, that ends a text. Default: none.
        output_scores: Whether to return the processed scores of each step. Default: false.
        return_dict_in_generate: Whether to return a ``GenerateOutput`` instead of the ids only. Default: false.
        use_cache: Whether to cache keys and values; otherwise each step computes the whole sequence again. Default:
            true.
        seed: Random seed of sampling, in [0, 2**32). Default: 0. In float32, the same seed gives the same text in
            every framework (but for about one token in 100,000, where two candidates nearly tie), in every call and in
            equal rows of a batch. For another text, pass another seed; for several texts, pass
            ``num_return_sequences``. The framework's random state has no effect.
        context: What happens beyond ``n_positions`` tokens: ``"error"`` (default) raises an error, ``"sliding"``
            continues from the last ``n_positions // 2`` tokens.
        extra: Unknown keys of a file. They are kept and written back, but have no effect.

    ``num_beam_groups`` is missing because group beam search is deprecated in transformers.

    Raises:
        ConfigError: A keyword is unknown, or values are out of range or contradict each other; the error lists all
            problems.

    >>> config = GenerationConfig(do_sample=True, top_k=40, max_new_tokens=8)
    >>> config.replace(seed=3).seed, config.top_p
    (3, 1.0)
    """

    title: ClassVar[str] = "GenerationConfig"
    variable: ClassVar[str] = "model.generation_config"

    max_length: int = 20
    max_new_tokens: int | None = None
    min_length: int = 0
    min_new_tokens: int | None = None
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    min_p: float | None = None
    typical_p: float = 1.0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    no_repeat_ngram_size: int = 0
    repetition_penalty: float = 1.0
    bad_words_ids: Sequence[Sequence[int]] | None = None
    penalty_alpha: float | None = None
    num_return_sequences: int = 1
    eos_token_id: int | Sequence[int] | None = None
    pad_token_id: int | None = None
    stop_strings: str | Sequence[str] | None = None
    output_scores: bool = False
    return_dict_in_generate: bool = False
    use_cache: bool = True
    seed: int = 0
    context: str = "error"
    extra: Mapping[str, Any] = field(default_factory=dict)

    __hash__ = Settings.__hash__

    @classmethod
    def reject_unknown(cls, settings: Mapping[str, Any]) -> None:
        """Raise a ``ConfigError`` for unknown settings, with advice for those of transformers."""
        super().reject_unknown(without_idioms(settings, GENERATING))

    def _problems(self) -> Iterator[str]:
        return _problems(self)

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """All ids that end a text."""
        ids = self.eos_token_id
        return () if ids is None else (ids,) if isinstance(ids, int) else tuple(ids)

    @property
    def stops(self) -> tuple[str, ...]:
        """All strings that end a text."""
        texts = self.stop_strings
        return () if texts is None else (texts,) if isinstance(texts, str) else tuple(texts)

    @property
    def fill_token_id(self) -> int:
        """The id that fills a row after its end."""
        return self.pad_token_id if self.pad_token_id is not None else (*self.eos_token_ids, 0)[0]

    @passes_on(GenerationSettings)
    def replace(self, **changes: Unpack[GenerationSettings]) -> Self:
        """Return a copy with some settings changed. Arguments of transformers that have no effect are ignored.

        Raises:
            ConfigError: A setting is invalid, or an argument of transformers is not supported; the error says what
                to do.
        """
        return self._replaced(without_idioms(changes, GENERATING))

    @classmethod
    @passes_on(GenerationSettings)
    def from_dict(cls, settings: Mapping[str, Any], **overrides: Unpack[GenerationSettings]) -> Self:
        """Create a config from the keys of a ``generation_config.json``; unknown keys go to ``extra``."""
        known = set(cls.names()) - {"extra"}
        ours = {key: value for key, value in settings.items() if key in known and value is not None}
        extra = {key: value for key, value in settings.items() if key not in known}
        return cls(**{**ours, **overrides}, extra=extra)

    @classmethod
    @passes_on(GenerationSettings)
    def from_pretrained(cls, folder: str | Path, **overrides: Unpack[GenerationSettings]) -> Self:
        """Load ``generation_config.json`` from a folder, or another JSON file.

        Raises:
            ConfigError: The file is missing, is not a JSON object or holds invalid settings.
        """
        path = Path(folder)
        return cls.from_dict(read_json_object(path if path.is_file() else path / GENERATION_CONFIG_NAME), **overrides)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``generation_config.json`` into ``folder``, which is created if missing, atomically."""
        make_folder(Path(folder))
        with atomic_write(Path(folder) / GENERATION_CONFIG_NAME) as file:
            file.write((json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n").encode())


def _problems(config: GenerationConfig) -> Iterator[str]:
    """One sentence for each setting that is out of range or contradicts another."""
    for name, low in (
        ("max_length", 1),
        ("min_length", 0),
        ("top_k", 0),
        ("num_beams", 1),
        ("no_repeat_ngram_size", 0),
        ("num_return_sequences", 1),
    ):
        yield from integer(name, getattr(config, name), low)
    for name, low in (("max_new_tokens", 1), ("min_new_tokens", 0), ("pad_token_id", 0)):
        if getattr(config, name) is not None:
            yield from integer(name, getattr(config, name), low)
    yield from integer("seed", config.seed, 0, MAX_SEED)
    for name in ("temperature", "repetition_penalty"):
        yield from real(name, getattr(config, name), "above 0", lambda value: 0 < value < math.inf)
    yield from real("length_penalty", config.length_penalty, "that is finite", math.isfinite)
    for name in ("top_p", "typical_p"):
        yield from real(name, getattr(config, name), "in (0, 1]", lambda value: 0 < value <= 1)
    if config.min_p is not None:
        yield from real("min_p", config.min_p, "in [0, 1]", lambda value: 0 <= value <= 1)
    if config.penalty_alpha is not None:
        yield from real("penalty_alpha", config.penalty_alpha, "in [0, 1]", lambda value: 0 <= value <= 1)
    for name in ("do_sample", "output_scores", "return_dict_in_generate", "use_cache"):
        yield from boolean(name, getattr(config, name))
    if config.early_stopping not in (True, False, "never"):
        yield f"early_stopping must be True, False or 'never'; got {config.early_stopping!r}"
    yield from choice("context", config.context, CONTEXTS)
    yield from _ids_problems(config)
    yield from _contradictions(config)


def _ids_problems(config: GenerationConfig) -> Iterator[str]:
    ids = config.eos_token_id
    if ids is not None and not (_is_id(ids) or (_is_list(ids) and ids and all(map(_is_id, ids)))):  # type: ignore[arg-type]
        yield f"eos_token_id must be a token id or a non-empty list of ids; got {ids!r}"
    words = config.bad_words_ids
    if words is not None and not (
        _is_list(words) and all(_is_list(word) and word and all(map(_is_id, word)) for word in words)
    ):
        yield f"bad_words_ids must be a list of non-empty lists of token ids; got {words!r}"
    stops = config.stop_strings
    if stops is not None and not (
        (isinstance(stops, str) and stops) or (_is_list(stops) and all(isinstance(s, str) and s for s in stops))
    ):
        yield f"stop_strings must be a non-empty text or a list of such texts; got {stops!r}"


def _contradictions(config: GenerationConfig) -> Iterator[str]:
    if not all(isinstance(getattr(config, name), int) for name in ("num_beams", "num_return_sequences")):
        return
    if config.num_beams > 1 and config.num_return_sequences > config.num_beams:
        yield f"num_return_sequences={config.num_return_sequences} must be at most num_beams={config.num_beams}"
    if config.num_beams == 1 and config.num_return_sequences > 1 and not config.do_sample:
        count = config.num_return_sequences
        yield f"num_return_sequences={count} would return equal sequences. Pass do_sample=True or num_beams."
    if config.penalty_alpha is not None:
        yield from _contrastive_contradictions(config)
    if config.min_new_tokens and config.max_new_tokens and config.min_new_tokens > config.max_new_tokens:
        yield f"min_new_tokens={config.min_new_tokens} must be at most max_new_tokens={config.max_new_tokens}"


def _contrastive_contradictions(config: GenerationConfig) -> Iterator[str]:
    what = f"penalty_alpha={config.penalty_alpha} selects contrastive search"
    if config.do_sample or config.num_beams > 1:
        yield f"{what}, which neither samples nor uses beams. Omit do_sample and num_beams."
    if isinstance(config.top_k, int) and config.top_k < 2:
        yield f"{what}, which ranks the top_k tokens: top_k must be at least 2; got {config.top_k}"
    if config.context == "sliding":
        yield f"{what}, which compares each token with all previous ones. Omit context='sliding'."


def _is_id(value: Any) -> bool:
    return is_integer(value) and value >= 0


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
