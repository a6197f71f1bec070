"""``Settings``, the base of config, generation settings and recipe, and the checks that they share."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, NoReturn, Self, TypeVar, is_typeddict

from gptcore.errors import ConfigError, bullet_list

K = TypeVar("K")
V = TypeVar("V")
F = TypeVar("F", bound=Callable[..., Any])


class _AsStored:
    def __repr__(self) -> str:
        return "<as stored>"


AS_STORED = _AsStored()
"""The default of a setting that overrides the one in a file, as signatures show it."""


def passes_on(*targets: Callable[..., Any], stored: Callable[..., Any] | None = None) -> Callable[[F], F]:
    """Add the keywords that a function passes on as ``**options`` to its signature, for ``help`` and editors.

    Args:
        targets: Functions, classes and ``TypedDict``s whose keyword-only parameters or keys are added, without
            ``extra``.
        stored: Another target, whose parameters override the values of a file.

    >>> def draw(*, colour: str = "blue"): ...
    >>> @passes_on(draw)
    ... def plot(data, **options): ...
    >>> print(inspect.signature(plot))
    (data, *, colour: 'str' = 'blue')
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)
        parameters = {name: p for name, p in signature.parameters.items() if p.kind is not p.VAR_KEYWORD}
        for target in filter(None, (*targets, stored)):
            for name, parameter in keywords(target).items():
                shown = parameter.replace(default=AS_STORED) if target is stored else parameter
                parameters.setdefault(name, shown)
        function.__signature__ = signature.replace(parameters=list(parameters.values()))  # type: ignore[attr-defined]
        return function

    return decorate


def keywords(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """What a function or a class takes by keyword only, or what a ``TypedDict`` lists, without ``extra``."""
    if is_typeddict(target):
        shown: dict[str, Any] = {"kind": inspect.Parameter.KEYWORD_ONLY, "default": AS_STORED}
        types = {name: getattr(hint, "__forward_arg__", hint) for name, hint in target.__annotations__.items()}
        listed = [inspect.Parameter(name, annotation=hint, **shown) for name, hint in types.items()]
    else:
        listed = [p for p in inspect.signature(target).parameters.values() if p.kind is p.KEYWORD_ONLY]
    return {parameter.name: parameter for parameter in listed if parameter.name != "extra"}


class FrozenDict(dict[K, V]):
    """A dict inside a config that cannot be changed, because changes would bypass the checks of the config.

    >>> FrozenDict({0: "no"}) | {0: "yes"}
    {0: 'yes'}
    """

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise ConfigError("cannot change a setting in place: a config is frozen. Make a copy with config.replace(...).")

    __setitem__ = __delitem__ = __ior__ = clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[type[FrozenDict[K, V]], tuple[dict[K, V]]]:
        return type(self), (dict(self),)


class Settings:
    """Base of a dataclass of settings: passed by keyword, checked on creation, frozen from then on.

    Values of NumPy, PyTorch and JAX become plain Python values, and mappings become frozen.

    Attributes:
        title: What the settings are, for errors.
        variable: Where a user has them, for advice.
    """

    title: ClassVar[str]
    variable: ClassVar[str]

    def __new__(cls, *_: Any, **settings: Any) -> Self:
        """Reject unknown names before ``__init__`` does, in order to name the nearest valid one."""
        cls.reject_unknown(settings)
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name in self.names():
            value = plain(getattr(self, name))
            object.__setattr__(self, name, FrozenDict(value) if isinstance(value, dict) else value)
        self._complete()
        problems = list(self._problems())
        if problems:
            raise ConfigError(f"invalid {self.title}:\n" + bullet_list(problems))

    def _complete(self) -> None:
        """Fill in what follows from other settings."""

    def _problems(self) -> Iterator[str]:
        """One sentence for each setting that is out of range or contradicts another."""
        return iter(())

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.names() and name not in vars(self):  # in __init__
            object.__setattr__(self, name, value)
            return
        raise dataclasses.FrozenInstanceError(
            f"cannot set {name}: settings are frozen. Make a changed copy: "
            f"{self.variable} = {self.variable}.replace({name}={value!r})."
        )

    def __delattr__(self, name: str) -> None:
        raise dataclasses.FrozenInstanceError(f"cannot delete {name}: settings are frozen.")

    def __hash__(self) -> int:
        return hash(json.dumps(self.to_dict(), sort_keys=True, default=repr))

    @classmethod
    def names(cls) -> list[str]:
        """The names of all settings."""
        return [spec.name for spec in dataclasses.fields(cls)]  # type: ignore[arg-type]  # of a subclass

    @classmethod
    def reject_unknown(cls, settings: Mapping[str, Any]) -> None:
        """Raise a ``ConfigError`` that names the nearest valid setting for each unknown one."""
        problems = list(unknown(settings, cls.names()))
        if problems:
            raise ConfigError("\n".join(problems))

    def _replaced(self, changes: Mapping[str, Any]) -> Self:
        """A changed copy, checked; ``replace`` of each class names its settings."""
        return type(self)(**{**{name: getattr(self, name) for name in self.names()}, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Every setting as JSON-ready values, with the keys kept in ``extra``."""
        own = {name: getattr(self, name) for name in self.names() if name != "extra"}
        return {**own, **getattr(self, "extra", {})}


def plain(value: Any) -> Any:
    """Scalars and arrays of NumPy, PyTorch and JAX as Python's own numbers and lists, also inside of containers.

    >>> import numpy as np
    >>> plain([np.int64(3), {"rate": np.array(0.5)}])
    [3, {'rate': 0.5}]
    """
    try:
        return _plain(value)
    except RecursionError as cause:
        raise ConfigError("a setting is nested too deeply to be read. Flatten it.") from cause


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    return type(value)(map(_plain, value)) if type(value) in (list, tuple) else value


_WORDS = {"true": True, "false": False, "none": None}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE | re.ASCII)


def unknown(names: Iterable[str], valid: Collection[str]) -> Iterator[str]:
    """Every name that is not valid, with the nearest one that is.

    >>> list(unknown(["n_layers"], ["n_layer", "n_head"]))
    ["unknown setting 'n_layers'; did you mean 'n_layer'?"]
    """
    for name in names:
        if name not in valid:
            near = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
            yield f"unknown setting {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def is_integer(value: Any) -> bool:
    """Whether this is an integer; ``True`` and ``False`` do not count."""
    return isinstance(value, int) and not isinstance(value, bool)


def integer(name: str, value: Any, low: int, high: int | None = None) -> Iterator[str]:
    """A sentence unless the value is an integer in the range."""
    if not is_integer(value) or value < low or (high is not None and value > high):
        allowed = f"of at least {low}" if high is None else f"in [{low}, {high}]"
        yield f"{name} must be an integer {allowed}; got {value!r}"


def real(name: str, value: Any, allowed: str, holds: Callable[[float], bool]) -> Iterator[str]:
    """A sentence unless the value is a number for which ``holds``; ``allowed`` says it in words."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not holds(value):
        yield f"{name} must be a number {allowed}; got {value!r}"


def boolean(name: str, value: Any) -> Iterator[str]:
    """A sentence unless the value is ``True`` or ``False``."""
    if not isinstance(value, bool):
        yield f"{name} must be true or false; got {value!r}"


def choice(name: str, value: Any, allowed: Collection[Any]) -> Iterator[str]:
    """A sentence unless the value is one of the allowed ones."""
    if value not in allowed:
        yield f"{name} must be one of {', '.join(map(repr, allowed))}; got {value!r}"


def literal(text: str) -> Any:
    """Parse the text of a setting: JSON, a number or word in Python's notation, or otherwise the text itself.

    >>> [literal(text) for text in ("2e-5", ".001", "+3.", "True", "None", "[1, 2]", "linear")]
    [2e-05, 0.001, 3.0, True, None, [1, 2], 'linear']
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        word = text.strip().lower()
        return float(word) if _NUMBER.fullmatch(word) else _WORDS.get(word, text)
