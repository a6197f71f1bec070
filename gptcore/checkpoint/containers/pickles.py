"""Pickles of PyTorch, read without executing them: a stack machine for tensors, dicts, lists and plain values.

Python's own unpickler calls the functions that a file names. This reader calls none of them: a global is only a name,
and the only calls that it interprets are those that describe a tensor or an ``OrderedDict``. The opcodes come from the
standard library's disassembler.
"""

from __future__ import annotations

import io
import pickletools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gptcore.errors import CheckpointError

MAX_PICKLE_BYTES = 2 << 20  # the state of the released model has 15 KB
MARK = object()


@dataclass(frozen=True)
class Global:
    """A name that Python's unpickler would import."""

    module: str
    name: str


@dataclass(frozen=True)
class Storage:
    """Numbers elsewhere in the file; tensors are views of them."""

    kind: str  # such as FloatStorage
    key: str
    count: int


@dataclass(frozen=True)
class View:
    """A tensor: a view of some numbers of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def load(stream: io.BytesIO) -> Any:
    """Read the object of one pickle, and leave ``stream`` at the end of the pickle.

    Raises:
        CheckpointError: The pickle uses a name or an instruction that weights do not need; nothing was executed.
        ValueError, LookupError, TypeError: The pickle is damaged.
    """
    machine = _Machine()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # a backslash in a damaged name
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return machine.stack.pop()
            step = OPCODES.get(opcode.name)
            if step is None:
                raise CheckpointError(
                    f"the pickle has the instruction {opcode.name}, which weights do not need; nothing was executed"
                )
            step(machine, argument)
    raise ValueError("the pickle has no end")


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop_to_mark(self) -> list[Any]:
        items = []
        while (item := self.stack.pop()) is not MARK:
            items.append(item)
        return items[::-1]

    def pop_tuple(self, length: int) -> None:
        items = [self.stack.pop() for _ in range(length)]
        self.push(tuple(items[::-1]))

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, list):
            raise TypeError("only a list can be appended to")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise TypeError("items can only be set on a dict, in pairs of key and value")
        target.update(zip(items[::2], items[1::2], strict=True))

    def name_global(self, argument: str) -> None:
        self.push(Global(*argument.split(" ", 1)))

    def name_global_from_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.push(Global(str(module), str(name)))

    def reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        describe = CALLS.get(function) if isinstance(function, Global) else None
        if describe is None:
            callee = f"{function.module}.{function.name}" if isinstance(function, Global) else repr(function)
            raise CheckpointError(f"the pickle would call {callee}, which weights do not need; nothing was executed")
        self.push(describe(*arguments))

    def build(self) -> None:
        self.stack.pop()  # the attributes of a state dict, such as _metadata, are not weights
        if not isinstance(self.stack[-1], dict):
            raise CheckpointError("the pickle would set attributes of an object; nothing was executed")

    def refer(self) -> None:
        match self.stack.pop():
            case ("storage", Global("torch", kind), key, _, int(count), *view) if view in ([], [None]):
                self.push(Storage(kind, str(key), count))
            case reference:
                raise CheckpointError(f"the pickle refers to {reference!r}, which is not a storage of numbers")


def _view(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> View:
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, Storage) or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ValueError("a tensor has a wrong storage, offset, shape or stride")
    if len(shape) != len(strides):
        raise ValueError(f"a tensor has {len(shape)} axes, but {len(strides)} strides")
    return View(storage, offset, tuple(shape), tuple(strides))


CALLS: dict[Global, Callable[..., Any]] = {
    Global("collections", "OrderedDict"): lambda items=(): dict(items),
    Global("torch._utils", "_rebuild_tensor"): _view,
    Global("torch._utils", "_rebuild_tensor_v2"): _view,
    Global("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
}

_PUSH_ARGUMENT = (
    "BININT BININT1 BININT2 INT LONG LONG1 LONG4 BINFLOAT FLOAT UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES"
)
OPCODES: dict[str, Callable[[_Machine, Any], Any]] = {
    **dict.fromkeys(_PUSH_ARGUMENT.split(), _Machine.push),
    **{name: lambda m, key: m.memo.__setitem__(key, m.stack[-1]) for name in ("PUT", "BINPUT", "LONG_BINPUT")},
    **{name: lambda m, key: m.push(m.memo[key]) for name in ("GET", "BINGET", "LONG_BINGET")},
    **{name: lambda m, _: None for name in ("PROTO", "FRAME")},
    "MEMOIZE": lambda m, _: m.memo.__setitem__(len(m.memo), m.stack[-1]),
    "MARK": lambda m, _: m.push(MARK),
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "TUPLE1": lambda m, _: m.pop_tuple(1),
    "TUPLE2": lambda m, _: m.pop_tuple(2),
    "TUPLE3": lambda m, _: m.pop_tuple(3),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_to_mark())),
    "APPEND": lambda m, _: m.append([m.stack.pop()]),
    "APPENDS": lambda m, _: m.append(m.pop_to_mark()),
    "SETITEM": lambda m, _: m.set_items([m.stack.pop(), m.stack.pop()][::-1]),
    "SETITEMS": lambda m, _: m.set_items(m.pop_to_mark()),
    "GLOBAL": _Machine.name_global,
    "STACK_GLOBAL": lambda m, _: m.name_global_from_stack(),
    "REDUCE": lambda m, _: m.reduce(),
    "BUILD": lambda m, _: m.build(),
    "BINPERSID": lambda m, _: m.refer(),
}
