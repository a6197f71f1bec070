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
        max_length: tokens of prompt and continuation together; ``max_new_tokens`` goes before it.
        max_new_tokens: tokens of the continuation.
        min_length, min_new_tokens: no end of text before that many tokens.
        do_sample: draw tokens at random instead of taking the likeliest.
        temperature: divides the logits, above 0.
        top_k: keep the k likeliest tokens; 0 keeps all.
        top_p: keep the likeliest tokens that together have this probability, in (0, 1].
        min_p: keep tokens at least this times as likely as the likeliest, in [0, 1]; ``None`` is off.
        typical_p: keep the tokens of most typical surprise that together have this probability, in (0, 1].
        num_beams: hypotheses of beam search; 1 is off.
        length_penalty: exponent of the length by which beam search divides a score.
        early_stopping: beam search ends when ``num_beams`` hypotheses are complete (``True``), when no better one is
            likely (``False``), or when none is possible (``"never"``).
        no_repeat_ngram_size: no run of that many tokens twice; 0 is off.
        repetition_penalty: above 1 makes tokens that were there less likely; above 0.
        bad_words_ids: sequences of token ids that never occur.
        penalty_alpha: contrastive search among the ``top_k`` likeliest tokens, in [0, 1]: 0 ranks them by
            probability only, 1 by dissimilarity to the context only; ``None`` is off.
        num_return_sequences: continuations of each prompt.
        eos_token_id: the id, or the ids, that end a text.
        pad_token_id: fills rows that have ended; the first ``eos_token_id`` if ``None``.
        stop_strings: texts that end a text.
        output_scores: also return the processed scores of each step.
        return_dict_in_generate: return a ``GenerateOutput`` instead of the ids alone.
        use_cache: keep keys and values; without, each step computes the whole sequence again.
        seed: of the sampling; the same seed gives the same text in every framework. The default is 0, so a call that is
            repeated gives the same text, and so do equal rows of a batch: pass another seed for another text, or
            ``num_return_sequences`` for several. The random state of the framework has no effect.
        context: what happens beyond ``n_positions``: ``"error"``, or ``"sliding"``: go on from the last half.
        extra: keys of a file that this class does not know; kept and written back, never acted on.

    ``num_beam_groups`` is left out: transformers has deprecated group beam search.

    Raises:
        ConfigError: a keyword is unknown, or values are out of range or contradict; all problems at once.

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
        """Raise a ``ConfigError`` for unknown settings; says what to do instead of those of transformers."""
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
        """All texts that end a text."""
        texts = self.stop_strings
        return () if texts is None else (texts,) if isinstance(texts, str) else tuple(texts)

    @property
    def fill_token_id(self) -> int:
        """What stands behind the end of a row."""
        return self.pad_token_id if self.pad_token_id is not None else (*self.eos_token_ids, 0)[0]

    @passes_on(GenerationSettings)
    def replace(self, **changes: Unpack[GenerationSettings]) -> Self:
        """A changed copy, checked. Arguments of transformers' ``generate`` with values of no effect are left out.

        Raises:
            ConfigError: as above, or an argument of transformers has no counterpart; says what to do instead.
        """
        return self._replaced(without_idioms(changes, GENERATING))

    @classmethod
    @passes_on(GenerationSettings)
    def from_dict(cls, settings: Mapping[str, Any], **overrides: Unpack[GenerationSettings]) -> Self:
        """From the keys of a ``generation_config.json``; keys that we do not know are kept, nulls are defaults."""
        known = set(cls.names()) - {"extra"}
        ours = {key: value for key, value in settings.items() if key in known and value is not None}
        extra = {key: value for key, value in settings.items() if key not in known}
        return cls(**{**ours, **overrides}, extra=extra)

    @classmethod
    @passes_on(GenerationSettings)
    def from_pretrained(cls, folder: str | Path, **overrides: Unpack[GenerationSettings]) -> Self:
        """Read ``generation_config.json`` of a folder, or a JSON file.

        Raises:
            ConfigError: the file is missing, is not a JSON object or holds invalid settings.
        """
        path = Path(folder)
        return cls.from_dict(read_json_object(path if path.is_file() else path / GENERATION_CONFIG_NAME), **overrides)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``generation_config.json`` into ``folder`` (made if missing), atomically."""
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
    yield from real("length_penalty", config.length_penalty, "finite", math.isfinite)
    for name in ("top_p", "typical_p"):
        yield from real(name, getattr(config, name), "in (0, 1]", lambda value: 0 < value <= 1)
    if config.min_p is not None:
        yield from real("min_p", config.min_p, "in [0, 1]", lambda value: 0 <= value <= 1)
    if config.penalty_alpha is not None:
        yield from real("penalty_alpha", config.penalty_alpha, "in [0, 1]", lambda value: 0 <= value <= 1)
    for name in ("do_sample", "output_scores", "return_dict_in_generate", "use_cache"):
        yield from boolean(name, getattr(config, name))
    if config.early_stopping not in (True, False, "never"):
        yield f"early_stopping={config.early_stopping!r} must be True, False or 'never'"
    yield from choice("context", config.context, CONTEXTS)
    yield from _ids_problems(config)
    yield from _contradictions(config)


def _ids_problems(config: GenerationConfig) -> Iterator[str]:
    ids = config.eos_token_id
    if ids is not None and not (_is_id(ids) or (_is_list(ids) and ids and all(map(_is_id, ids)))):  # type: ignore[arg-type]
        yield f"eos_token_id={ids!r} must be a token id or a list of them"
    words = config.bad_words_ids
    if words is not None and not (
        _is_list(words) and all(_is_list(word) and word and all(map(_is_id, word)) for word in words)
    ):
        yield f"bad_words_ids={words!r} must be a list of lists of token ids, none empty"
    stops = config.stop_strings
    if stops is not None and not (
        (isinstance(stops, str) and stops) or (_is_list(stops) and all(isinstance(s, str) and s for s in stops))
    ):
        yield f"stop_strings={stops!r} must be a text or a list of texts, none empty"


def _contradictions(config: GenerationConfig) -> Iterator[str]:
    if not all(isinstance(getattr(config, name), int) for name in ("num_beams", "num_return_sequences")):
        return
    if config.num_beams > 1 and config.num_return_sequences > config.num_beams:
        yield f"num_return_sequences={config.num_return_sequences} must be at most num_beams={config.num_beams}"
    if config.num_beams == 1 and config.num_return_sequences > 1 and not config.do_sample:
        count = config.num_return_sequences
        yield f"num_return_sequences={count} would all be the same; pass do_sample=True or num_beams"
    if config.penalty_alpha is not None:
        yield from _contrastive_contradictions(config)
    if config.min_new_tokens and config.max_new_tokens and config.min_new_tokens > config.max_new_tokens:
        yield f"min_new_tokens={config.min_new_tokens} must be at most max_new_tokens={config.max_new_tokens}"


def _contrastive_contradictions(config: GenerationConfig) -> Iterator[str]:
    what = f"penalty_alpha={config.penalty_alpha} asks for contrastive search"
    if config.do_sample or config.num_beams > 1:
        yield f"{what}, which neither samples nor keeps beams; leave out do_sample and num_beams"
    if isinstance(config.top_k, int) and config.top_k < 2:
        yield f"{what}, which chooses among top_k={config.top_k} tokens; pass top_k of at least 2"
    if config.context == "sliding":
        yield f"{what}, which compares with all tokens so far; leave out context='sliding'"


def _is_id(value: Any) -> bool:
    return is_integer(value) and value >= 0


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)
