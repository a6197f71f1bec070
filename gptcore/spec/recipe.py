"""Hyperparameters of training, framework-neutral: the paper's two stages, validated, as YAML or JSON.

Sources: Radford et al. 2018, section 4.1, and the authors' fine-tuning code for what the paper leaves open.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from gptcore.errors import ConfigError
from gptcore.settings import Settings, boolean, choice, integer, is_integer, literal, passes_on, real
from gptcore.storage.atomic import atomic_write
from gptcore.storage.tables import decoded

MAX_RECIPE_BYTES = 1 << 20
PRECISIONS = ("float32", "bfloat16")
LONG_WARMUP = 0.5  # as a share of all updates

Progress = NDArray[np.float64]


def ramp(progress: Progress, warmup: float) -> Progress:
    """From 0 to 1 over the warm-up, then 1."""
    return np.minimum(progress / warmup, 1.0) if warmup else np.ones_like(progress)


def since(progress: Progress, warmup: float) -> Progress:
    """The progress after the warm-up, from 0 to 1."""
    return (progress - warmup) / max(1 - warmup, 1e-9)


def half_cosine(progress: Progress) -> Progress:
    """From 1 to 0 along half a period."""
    return 0.5 * (1 + np.cos(np.pi * progress))


SCHEDULES: dict[str, Callable[[Progress, float], Progress]] = {
    "cosine": lambda p, warmup: np.where(p < warmup, ramp(p, warmup), half_cosine(since(p, warmup))),
    "linear": lambda p, warmup: np.where(p < warmup, ramp(p, warmup), 1 - since(p, warmup)),
    "constant": ramp,
    "original_cosine": lambda p, warmup: np.where(p <= warmup, ramp(p, warmup), half_cosine(p)),
    "original_linear": lambda p, warmup: ramp(p, warmup) * (1 - p),
}
"""Name -> function from the progress in [0, 1) and the share of the warm-up to a factor of the learning rate."""


class RecipeSettings(TypedDict, total=False):
    """The settings of ``Recipe`` as keywords of ``Recipe.replace``, for editors."""

    learning_rate: float
    schedule: str
    warmup_steps: int
    warmup_ratio: float
    epochs: float
    max_steps: int | None
    batch_size: int
    group_by_length: bool
    micro_batch_size: int | None
    weight_decay: float
    adam_beta1: float
    adam_beta2: float
    adam_epsilon: float
    max_grad_norm: float | None
    lm_coefficient: float
    seed: int
    precision: str


@dataclass(kw_only=True)
class Recipe(Settings):
    """Hyperparameters. The defaults are the paper's for pre-training; ``FINE_TUNING`` has those for fine-tuning.

    Args:
        learning_rate: Peak learning rate; must be above 0.
        schedule: Shape of the learning rate. After the warm-up, ``cosine`` and ``linear`` fall to 0 and ``constant``
            stays, as in transformers. ``original_cosine`` and ``original_linear``, as in the authors' code, count the
            decay from the first update, so that it has begun when the warm-up ends.
        warmup_steps (updates): Number of updates over which the learning rate rises from 0; if 0,
            ``warmup_ratio`` is used.
        warmup_ratio (fraction): Warm-up as a fraction of all updates, in [0, 1). Ignored if ``warmup_steps`` is not 0.
        epochs (passes): Passes over the data; must be above 0 and may be a fraction.
        max_steps (updates): Number of updates; overrides ``epochs``. ``None`` for the number given by ``epochs``.
        batch_size (examples): Examples per update, over all processes.
        group_by_length: Whether to batch examples of similar length, which reduces padding but separates
            long examples from short ones. Only useful for tasks: blocks of ``lm`` all have the same length.
        micro_batch_size (examples): Examples that a process computes at a time, to save memory; gradients are summed
            over the update. ``None`` for all at once.
        weight_decay: Decoupled weight decay of all parameters except biases and gains; at least 0.
        adam_beta1: Decay rate of Adam's mean of the gradient, in [0, 1).
        adam_beta2: Decay rate of Adam's mean of the squared gradient, in [0, 1).
        adam_epsilon: Number added to the square root of Adam's bias-corrected second moment; must be above 0.
        max_grad_norm: Largest global norm of the gradients; larger ones are scaled down. ``None`` for no limit.
        lm_coefficient: Weight of the language-modelling loss in fine-tuning, lambda of the paper's equation 5; at
            least 0.
        seed: Random seed of fresh weights, of the order of examples and of dropout, in [0, 2**32).
        precision: ``float32``, or ``bfloat16`` to compute in bfloat16 with weights in float32.

    Raises:
        ConfigError: Settings are unknown or out of range; the error lists all of them.

    >>> Recipe(max_steps=4, warmup_steps=2).learning_rates(4).tolist()
    [0.0, 0.000125, 0.00025, 0.000125]
    >>> FINE_TUNING.replace(max_steps=4, warmup_ratio=0.5).learning_rates(4).tolist()
    [0.0, 3.125e-05, 6.25e-05, 3.125e-05]
    """

    title: ClassVar[str] = "hyperparameters"
    variable: ClassVar[str] = "recipe"

    learning_rate: float = 2.5e-4
    schedule: str = "cosine"
    warmup_steps: int = 2000
    warmup_ratio: float = 0.0
    epochs: float = 100
    max_steps: int | None = None
    batch_size: int = 64
    group_by_length: bool = False
    micro_batch_size: int | None = None
    weight_decay: float = 0.01
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    max_grad_norm: float | None = 1.0
    lm_coefficient: float = 0.5
    seed: int = 0
    precision: str = "float32"

    __hash__ = Settings.__hash__

    def _problems(self) -> Iterator[str]:
        return _problems(self)

    @passes_on(RecipeSettings)
    def replace(self, **changes: Unpack[RecipeSettings]) -> Self:
        """A changed copy, checked."""
        return self._replaced(changes)

    @classmethod
    def read(cls, path: str | Path, base: Self | None = None) -> Self:
        """A recipe from a ``.yaml``, ``.yml`` or ``.json`` file.

        Args:
            path: The file.
            base: The settings that the file may omit. Default: those of ``Recipe()``.

        Raises:
            ConfigError: The file cannot be read, or does not hold a mapping of known settings.
        """
        import yaml  # comes with huggingface_hub; slow to import

        path = Path(path)
        try:
            if path.stat().st_size > MAX_RECIPE_BYTES:
                raise ConfigError(f"{path} must have at most {MAX_RECIPE_BYTES:,} bytes. Pass a YAML or JSON recipe.")
            text = decoded(path.read_bytes(), path, ConfigError)
            settings = json.loads(text) if path.suffix == ".json" else _numbers(yaml.safe_load(text))
        except OSError as cause:
            raise ConfigError(f"cannot read {path}: {cause.strerror}") from cause
        except (json.JSONDecodeError, yaml.YAMLError, RecursionError) as cause:
            raise ConfigError(f"{path} is not valid {'JSON' if path.suffix == '.json' else 'YAML'}: {cause}") from cause
        if not isinstance(settings, dict):
            raise ConfigError(f"{path} must hold a mapping of settings; got {type(settings).__name__}")
        cls.reject_unknown(settings)
        return (cls() if base is None else base).replace(**settings)

    def write(self, path: str | Path) -> None:
        """Write JSON if the name ends with ``.json``, else YAML."""
        import yaml

        path = Path(path)
        settings = self.to_dict()
        text = (
            json.dumps(settings, indent=2) + "\n"
            if path.suffix == ".json"
            else yaml.safe_dump(settings, sort_keys=False)
        )
        with atomic_write(path) as file:
            file.write(text.encode())

    def total_steps(self, examples: int) -> int:
        """The number of updates for a number of training examples: ``max_steps``, or computed from ``epochs``.

        >>> Recipe(epochs=2, batch_size=4).total_steps(9)
        5
        """
        return (
            self.max_steps
            if self.max_steps is not None
            else max(1, math.ceil(self.epochs * examples / self.batch_size))
        )

    def learning_rates(self, total_steps: int) -> NDArray[np.float64]:
        """The learning rate of each update: one table, so that all frameworks use the same numbers.

        Returns:
            float64, (total_steps,).
        """
        warmup = self._warmup(total_steps)
        progress = np.arange(total_steps) / total_steps
        return self.learning_rate * SCHEDULES[self.schedule](progress, warmup)

    def _warmup(self, total_steps: int) -> float:
        """The warm-up as a share of all updates; above 1 if the run ends before the warm-up does."""
        return self.warmup_steps / total_steps if self.warmup_steps else self.warmup_ratio

    def warnings(self, total_steps: int, *, fine_tuning: bool = False) -> list[str]:
        """Warnings about a run of ``total_steps`` updates: a warm-up longer than half the run.

        >>> Recipe(warmup_steps=2000).warnings(325)[0].partition(".")[0]
        'The warm-up (2,000 updates) is longer than half of the run (325 updates)'
        >>> Recipe().warnings(20_000)
        []
        """
        warmup = self._warmup(total_steps)
        if warmup <= LONG_WARMUP:
            return []
        largest = self.learning_rates(total_steps).max()
        if self.max_steps is not None:
            more = "or raise max_steps"
        else:
            more = "or raise epochs" if fine_tuning else "raise epochs, or pass --preset small"
        return [
            f"The warm-up ({warmup * total_steps:,.0f} updates) is longer than half of the run ({total_steps:,} "
            f"updates). The largest learning rate of the run is {largest:.3g}; the setting is {self.learning_rate:g}. "
            f"Shorten the warm-up (for example, warmup_steps={max(1, total_steps // 10)}), {more}."
        ]


@dataclass(frozen=True)
class Setting:
    """The description of one setting of a recipe.

    Attributes:
        name: Its name in a recipe and for ``--set``.
        type: The type of its values, in words.
        unit: The unit of a number, or empty.
        text: What it does, and its limits.
    """

    name: str
    type: str
    unit: str
    text: str


TYPES = {"float": "number", "int": "integer", "bool": "true/false", "str": "word"}


def described() -> list[Setting]:
    """All settings of a recipe in the order of their definition, from the docstring of ``Recipe``.

    >>> described()[2].name, described()[2].type, described()[2].unit
    ('warmup_steps', 'integer', 'updates')
    """
    arguments = re.search(r"Args:\n(.*?)\n\n", inspect.getdoc(Recipe) or "", re.DOTALL)
    entries = re.findall(
        r"^    (\w+)(?: \((.*)\))?: (.*(?:\n {8}.*)*)", arguments[1] if arguments else "", re.MULTILINE
    )
    texts = {name: (unit, " ".join(text.replace("``", "").split())) for name, unit, text in entries}
    settings = []
    for spec in dataclasses.fields(Recipe):
        kind, _, optional = str(spec.type).partition(" | ")
        settings.append(Setting(spec.name, TYPES[kind] + " or none" * bool(optional), *texts[spec.name]))
    return settings


def _numbers(settings: Any) -> Any:
    """Convert values that YAML 1.1 reads as strings, such as ``2e-5`` and ``None``."""
    if not isinstance(settings, dict):
        return settings
    return {name: literal(value) if isinstance(value, str) else value for name, value in settings.items()}


def _problems(recipe: Recipe) -> Iterator[str]:
    """One sentence for each setting that is out of range."""
    for name, low in (("warmup_steps", 0), ("batch_size", 1)):
        yield from integer(name, getattr(recipe, name), low)
    for name in ("max_steps", "micro_batch_size"):
        if getattr(recipe, name) is not None:
            yield from integer(name, getattr(recipe, name), 1)
    yield from integer("seed", recipe.seed, 0, 2**32 - 1)
    for name in ("learning_rate", "epochs", "adam_epsilon"):
        yield from real(name, getattr(recipe, name), "above 0", lambda value: 0 < value < math.inf)
    for name in ("warmup_ratio", "adam_beta1", "adam_beta2"):
        yield from real(name, getattr(recipe, name), "in [0, 1)", lambda value: 0 <= value < 1)
    for name in ("weight_decay", "lm_coefficient"):
        yield from real(name, getattr(recipe, name), "of at least 0", lambda value: 0 <= value < math.inf)
    if recipe.max_grad_norm is not None:
        yield from real("max_grad_norm", recipe.max_grad_norm, "above 0", lambda value: 0 < value < math.inf)
    yield from choice("schedule", recipe.schedule, tuple(SCHEDULES))
    yield from choice("precision", recipe.precision, PRECISIONS)
    yield from boolean("group_by_length", recipe.group_by_length)
    sizes = (recipe.batch_size, recipe.micro_batch_size)
    if all(is_integer(size) and size > 0 for size in sizes) and sizes[0] % sizes[1]:  # type: ignore[operator]
        yield f"batch_size must be a multiple of micro_batch_size={sizes[1]}; got {sizes[0]}"


PRETRAINING = Recipe()
"""The paper's hyperparameters of language modelling."""
FINE_TUNING = Recipe(
    learning_rate=6.25e-5, schedule="linear", warmup_steps=0, warmup_ratio=0.002, epochs=3, batch_size=32
)
"""The paper's hyperparameters of fine-tuning."""


@dataclass(frozen=True)
class Preset:
    """Defaults of ``gptcore train lm``.

    Attributes:
        recipe: The hyperparameters.
        sizes: The model sizes that go with them, by their names in ``OpenAIGPTConfig``.
    """

    recipe: Recipe
    sizes: Mapping[str, int]


PRESETS = {
    "paper": Preset(PRETRAINING, {}),
    "small": Preset(
        Recipe(learning_rate=1e-3, warmup_steps=0, warmup_ratio=0.05, epochs=10, batch_size=16),
        {"n_positions": 128, "n_embd": 128, "n_layer": 4, "n_head": 4},
    ),
}
"""Presets for training from fresh weights: the paper's, and one for a megabyte of text on a laptop."""
