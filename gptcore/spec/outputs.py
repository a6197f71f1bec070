"""``ModelOutput``: what a model call returns, in every framework."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar


class ModelOutput(OrderedDict[str, Any]):
    """A mapping of the fields that are present, in order; also readable by attribute and by position.

    A field that was not computed is missing from the mapping and reads as ``None`` by attribute. Setting a field to
    ``None``, by attribute or by item, removes it from the mapping. Each backend derives its output classes from
    this one and registers them with its framework as a tree of tensors. Like any ``OrderedDict``, it can be created
    from keywords, a mapping or pairs, because other libraries rebuild the outputs of a model that way.

    >>> class Output(ModelOutput):
    ...     fields = ("loss", "logits")
    >>> output = Output(logits=3)
    >>> output.loss, output.logits, output["logits"], output[0], output.to_tuple()
    (None, 3, 3, 3, (3,))
    >>> output.loss = 5
    >>> output["loss"], output[0], output.to_tuple()
    (5, 5, (5, 3))
    """

    fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, values: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /, **more: Any) -> None:
        values = {**dict(values), **more}
        for name in values:
            self._check_field(name)
        super().__init__({name: values[name] for name in self.fields if values.get(name) is not None})

    def _check_field(self, name: Any) -> None:
        if name not in self.fields:
            raise TypeError(f"{type(self).__name__} has no field {name}")

    def __getattr__(self, name: str) -> Any:
        if name in type(self).fields:
            return self.get(name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in type(self).fields:
            self[name] = value
        else:
            super().__setattr__(name, value)

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __setitem__(self, name: str, value: Any) -> None:
        self._check_field(name)
        if value is None:
            self.pop(name, None)
            return
        super().__setitem__(name, value)
        for later in self.fields[self.fields.index(name) + 1 :]:
            if later in self:
                self.move_to_end(later)

    def to_tuple(self) -> tuple[Any, ...]:
        """The present fields, in order; what ``return_dict=False`` returns."""
        return tuple(self.values())


BASE_FIELDS = ("last_hidden_state", "past_key_values", "hidden_states", "attentions")
CAUSAL_LM_FIELDS = ("loss", "logits", "past_key_values", "hidden_states", "attentions")
DOUBLE_HEADS_FIELDS = ("loss", "mc_loss", "logits", "mc_logits", "hidden_states", "attentions")
SEQUENCE_CLASSIFIER_FIELDS = ("loss", "logits", "hidden_states", "attentions")
