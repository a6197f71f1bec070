"""``OpenAIGPTConfig``: every fact about one model, validated once, the same for all frameworks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self, TypedDict, Unpack

from gptcore.errors import ConfigError
from gptcore.settings import FrozenDict, Settings, boolean, choice, integer, is_integer, passes_on, real, unknown
from gptcore.storage import hub
from gptcore.storage.atomic import atomic_write, make_folder
from gptcore.storage.transaction import recover

CONFIG_NAME = "config.json"
GENERATION_CONFIG_NAME = "generation_config.json"
MAX_CONFIG_BYTES = 1 << 20

ACTIVATIONS = ("gelu", "relu", "silu", "swish")
SUMMARY_ACTIVATIONS = ("tanh", "relu", "silu", "swish", "gelu_new")
SUMMARY_TYPES = ("last", "first", "mean", "cls_index")
PROBLEM_TYPES = ("regression", "single_label_classification", "multi_label_classification")

# Upper bounds keep a hostile config.json from asking for absurd amounts of memory; each is far above
# any published model of this architecture.
LIMITS = {
    "vocab_size": 1 << 24,
    "n_positions": 1 << 20,
    "n_embd": 1 << 16,
    "n_layer": 1 << 10,
    "n_head": 1 << 12,
    "num_labels": 1 << 20,
}


class DefaultCount(int):
    """The type of the default of ``num_labels``: 2, unless ``id2label`` has another number of labels."""


DEFAULT_LABELS = DefaultCount(2)


class ConfigSettings(TypedDict, total=False):
    """The settings of ``OpenAIGPTConfig`` as keywords of a function that passes some on, for editors."""

    vocab_size: int
    n_positions: int
    n_embd: int
    n_layer: int
    n_head: int
    afn: str
    resid_pdrop: float
    embd_pdrop: float
    attn_pdrop: float
    layer_norm_epsilon: float
    initializer_range: float
    summary_type: str
    summary_use_proj: bool
    summary_activation: str | None
    summary_proj_to_labels: bool
    summary_first_dropout: float
    summary_last_dropout: float
    num_labels: int
    id2label: Mapping[int, str]
    label2id: Mapping[str, int]
    problem_type: str | None
    pad_token_id: int | None
    bos_token_id: int | None
    eos_token_id: int | None
    output_attentions: bool
    output_hidden_states: bool
    return_dict: bool
    extra: Mapping[str, Any]


class ConfigOptions(hub.Location, ConfigSettings, total=False):
    """The keywords of ``OpenAIGPTConfig.from_pretrained``."""


@dataclass(kw_only=True)
class OpenAIGPTConfig(Settings):
    """Sizes and settings of an OpenAI GPT model, under the published ``config.json`` keys.

    The defaults are the released model: 12 layers, 116,534,784 parameters (Radford et al. 2018, section 4.1).

    Args:
        vocab_size: Number of token embeddings, at least 1.
        n_positions: Length of the longest sequence, in tokens.
        n_embd: Width of the hidden states; must be a multiple of ``n_head``.
        n_layer: Number of blocks.
        n_head: Attention heads per block.
        afn: Activation of the feed-forward layer, one of ``gelu`` (the tanh form of OpenAI's code),
            ``relu``, ``silu``, ``swish``.
        resid_pdrop, embd_pdrop, attn_pdrop: Dropout probabilities, in [0, 1).
        layer_norm_epsilon: Added to the variance in every LayerNorm, above 0.
        initializer_range: Standard deviation of fresh weights, at least 0.
        summary_type: Which hidden state the multiple-choice head reads: ``last``, ``first``, ``mean`` (of all), or
            ``cls_index`` (at the positions ``mc_token_ids``; the last if none are passed).
        summary_use_proj: Whether the multiple-choice head has a linear layer.
        summary_activation: ``None`` or one of ``tanh``, ``relu``, ``silu``, ``swish``, ``gelu_new``.
        summary_proj_to_labels: Whether the linear layer of the multiple-choice head gives one score per choice
            instead of ``n_embd`` values.
        summary_first_dropout, summary_last_dropout: Dropout before the linear layer and after the activation of the
            multiple-choice head, in [0, 1).
        num_labels: Number of outputs of the sequence classification head. With 1, the loss is the mean squared error
            unless ``problem_type`` is set.
        id2label, label2id: Names of the labels by number, and the inverse. Default: ``LABEL_0``, ``LABEL_1``, ...
        problem_type: ``None`` (decided by ``num_labels`` and the labels' dtype) or one of ``regression``,
            ``single_label_classification``, ``multi_label_classification``.
        pad_token_id, bos_token_id, eos_token_id: Token ids, or ``None``.
        output_attentions, output_hidden_states, return_dict: What a model call returns by default.
        extra: Unknown keys of a ``config.json``. They are kept and written back, but have no effect.

    Raises:
        ConfigError: A keyword is unknown, or values are out of range; the error lists all problems.

    >>> config = OpenAIGPTConfig(n_layer=2, n_embd=64, n_head=4)
    >>> config.hidden_size, config.replace(n_layer=3).n_layer
    (64, 3)
    """

    title: ClassVar[str] = "OpenAIGPTConfig"
    variable: ClassVar[str] = "model.config"
    model_type: ClassVar[str] = "openai-gpt"
    aliases: ClassVar[Mapping[str, str]] = {
        "max_position_embeddings": "n_positions",
        "hidden_size": "n_embd",
        "num_attention_heads": "n_head",
        "num_hidden_layers": "n_layer",
    }

    vocab_size: int = 40478
    n_positions: int = 512
    n_embd: int = 768
    n_layer: int = 12
    n_head: int = 12
    afn: str = "gelu"
    resid_pdrop: float = 0.1
    embd_pdrop: float = 0.1
    attn_pdrop: float = 0.1
    layer_norm_epsilon: float = 1e-5
    initializer_range: float = 0.02
    summary_type: str = "cls_index"
    summary_use_proj: bool = True
    summary_activation: str | None = None
    summary_proj_to_labels: bool = True
    summary_first_dropout: float = 0.1
    summary_last_dropout: float = 0.0
    num_labels: int = DEFAULT_LABELS
    id2label: Mapping[int, str] = None  # type: ignore[assignment]  # filled in _complete
    label2id: Mapping[str, int] = None  # type: ignore[assignment]
    problem_type: str | None = None
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    output_attentions: bool = False
    output_hidden_states: bool = False
    return_dict: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __setattr__(self, name: str, value: Any) -> None:
        """Settings are frozen; any other name may be set, as transformers' Trainer sets ``use_cache``."""
        name = self.aliases.get(name, name)
        if name in self.names():
            super().__setattr__(name, value)
        else:
            object.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        if name in self.names():
            super().__delattr__(name)
        else:
            object.__delattr__(self, name)

    __hash__ = Settings.__hash__

    def _complete(self) -> None:
        """Make ``num_labels``, ``id2label`` and ``label2id`` agree; transformers derives the first from the second."""
        if self.id2label is None:
            count = self.num_labels if isinstance(self.num_labels, int) else 0
            names = {i: f"LABEL_{i}" for i in range(min(max(count, 0), LIMITS["num_labels"]))}
        else:
            try:
                names = {int(i): str(name) for i, name in dict(self.id2label).items()}
            except (TypeError, ValueError) as cause:
                raise ConfigError(f"id2label must map label numbers to names; got {self.id2label!r}") from cause
        if isinstance(self.num_labels, DefaultCount):
            object.__setattr__(self, "num_labels", len(names))
        object.__setattr__(self, "id2label", FrozenDict(names))
        given = self.label2id
        if given is not None and not isinstance(given, Mapping):
            raise ConfigError(f"label2id must map names to label numbers; got {given!r}")
        reverse = {name: i for i, name in names.items()} if given is None else {str(k): v for k, v in given.items()}
        object.__setattr__(self, "label2id", FrozenDict(reverse))

    @classmethod
    def reject_unknown(cls, settings: Mapping[str, Any]) -> None:
        """Raise a ``ConfigError`` that names the nearest valid setting for each unknown one."""
        problems = [
            f"{name} is a read-only alias; pass {cls.aliases[name]} instead" for name in settings if name in cls.aliases
        ]
        problems += unknown((name for name in settings if name not in cls.aliases), cls.names())
        if problems:
            raise ConfigError("\n".join(problems))

    def _problems(self) -> Iterator[str]:
        """One sentence for each setting that is out of range."""
        for name, limit in LIMITS.items():
            yield from integer(name, getattr(self, name), 1, limit)
        for name in ("resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout", "summary_last_dropout"):
            yield from real(name, getattr(self, name), "in [0, 1)", lambda value: 0 <= value < 1)
        yield from real(
            "initializer_range", self.initializer_range, "of at least 0", lambda value: 0 <= value < math.inf
        )
        yield from real("layer_norm_epsilon", self.layer_norm_epsilon, "above 0", lambda value: 0 < value < math.inf)
        yield from choice("afn", self.afn, ACTIVATIONS)
        yield from choice("summary_type", self.summary_type, SUMMARY_TYPES)
        yield from choice("summary_activation", self.summary_activation, (None, *SUMMARY_ACTIVATIONS))
        yield from choice("problem_type", self.problem_type, (None, *PROBLEM_TYPES))
        for name in (
            "summary_use_proj",
            "summary_proj_to_labels",
            "output_attentions",
            "output_hidden_states",
            "return_dict",
        ):
            yield from boolean(name, getattr(self, name))
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            value = getattr(self, name)
            if value is not None and isinstance(self.vocab_size, int):
                yield from integer(name, value, 0, self.vocab_size - 1)
        if is_integer(self.n_embd) and is_integer(self.n_head) and self.n_head > 0 and self.n_embd % self.n_head:
            yield f"n_embd={self.n_embd} must be a multiple of n_head={self.n_head}"
        labels = sorted(self.id2label)
        if is_integer(self.num_labels) and (len(labels) != self.num_labels or labels != list(range(len(labels)))):
            yield f"id2label must have the keys 0 to {self.num_labels - 1} (num_labels={self.num_labels}); got {labels}"
        if {name: i for i, name in self.id2label.items()} != dict(self.label2id):
            yield "label2id must be the inverse of id2label. Omit it to derive it from id2label."

    @property
    def max_position_embeddings(self) -> int:
        """Alias of ``n_positions``."""
        return self.n_positions

    @property
    def hidden_size(self) -> int:
        """Alias of ``n_embd``."""
        return self.n_embd

    @property
    def num_attention_heads(self) -> int:
        """Alias of ``n_head``."""
        return self.n_head

    @property
    def num_hidden_layers(self) -> int:
        """Alias of ``n_layer``."""
        return self.n_layer

    @property
    def use_return_dict(self) -> bool:
        """Alias of ``return_dict``."""
        return self.return_dict

    @passes_on(ConfigSettings)
    def replace(self, **changes: Unpack[ConfigSettings]) -> Self:
        """A copy with some settings changed; another ``num_labels`` resets the label names.

        >>> OpenAIGPTConfig().replace(num_labels=3).id2label[2]
        'LABEL_2'
        """
        settings: dict[str, Any] = {name: getattr(self, name) for name in self.names()}
        if changes.get("num_labels", self.num_labels) != self.num_labels:
            del settings["id2label"], settings["label2id"]
        elif "id2label" in changes:
            del settings["num_labels"], settings["label2id"]
        return type(self)(**{**settings, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return every setting as JSON values, with ``model_type`` and the keys of ``extra``."""
        labels = {"id2label": {str(i): name for i, name in self.id2label.items()}, "label2id": dict(self.label2id)}
        return {"model_type": self.model_type, **super().to_dict(), **labels}

    @classmethod
    @passes_on(ConfigSettings)
    def from_dict(cls, settings: Mapping[str, Any], **overrides: Unpack[ConfigSettings]) -> Self:
        """The inverse of ``to_dict``; also reads what transformers writes.

        Unknown keys are kept in ``extra``: a file on disk may be newer than this library. Unknown ``overrides`` raise.
        """
        cls.reject_unknown(overrides)
        if settings.get("model_type", cls.model_type) != cls.model_type:
            raise ConfigError(
                f"model_type must be {cls.model_type!r}; got {settings['model_type']!r}. Only OpenAI GPT can be loaded."
            )
        if settings.get("tie_word_embeddings", True) is not True:
            raise ConfigError(
                f"tie_word_embeddings must be True; got {settings['tie_word_embeddings']!r}. In this architecture, the "
                "language-modelling head is the token embedding."
            )
        known = set(cls.names()) - {"extra"}
        ours = {key: value for key, value in settings.items() if key in known}
        for alias, name in cls.aliases.items():
            if alias in settings and ours.setdefault(name, settings[alias]) != settings[alias]:
                raise ConfigError(
                    f"{alias} and {name} are one setting and must agree; got {settings[alias]!r} and {ours[name]!r}."
                )
        unknown_keys = set(settings) - known - set(cls.aliases) - {"model_type"}
        config = cls(**ours, extra={key: settings[key] for key in settings if key in unknown_keys})
        return config.replace(**overrides) if overrides else config

    @classmethod
    @passes_on(hub.resolve, ConfigSettings)
    def from_pretrained(cls, path_or_repo_id: str | Path, **options: Unpack[ConfigOptions]) -> Self:
        """Load a config from a folder, a JSON file or a repository on the hub.

        Args:
            path_or_repo_id: A folder, the path of a JSON file, or ``owner/name``.
            options: ``revision``, ``cache_dir``, ``local_files_only``, ``token`` as in ``gptcore.storage.hub.resolve``;
                all others override settings of the file.

        Raises:
            ConfigError: The file is missing, is not a JSON object or holds invalid settings.
        """
        location, overrides = hub.split_options(options)
        path = Path(path_or_repo_id)
        if not path.is_file():
            folder = hub.resolve(path_or_repo_id, hub.named(CONFIG_NAME), **location)
            recover(folder)
            path = folder / CONFIG_NAME
        return cls.from_dict(read_json_object(path), **overrides)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json`` into ``folder``, which is created if missing, atomically."""
        make_folder(Path(folder))
        with atomic_write(Path(folder) / CONFIG_NAME) as file:
            file.write(self.to_json_string().encode())

    def to_json_string(self) -> str:
        """``to_dict`` as indented JSON with sorted keys and a final newline."""
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"


def read_json_object(path: Path) -> dict[str, Any]:
    """Load a JSON object from a file; a byte order mark, as written by Windows programs, is accepted.

    Raises:
        ConfigError: The file cannot be read, is too large, or does not hold a JSON object.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path} must have at most {MAX_CONFIG_BYTES:,} bytes; got {path.stat().st_size:,}.")
        settings = json.loads(path.read_bytes())  # finds out the encoding
    except OSError as cause:
        advice = f"A checkpoint folder needs a {CONFIG_NAME}." if path.name == CONFIG_NAME else "Check the path."
        raise ConfigError(f"cannot read {path}: {cause.strerror}. {advice}") from cause
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as cause:
        raise ConfigError(f"{path} is not valid JSON: {cause}") from cause
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} must hold a JSON object; got {type(settings).__name__}.")
    return settings
