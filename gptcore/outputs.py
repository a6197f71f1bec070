"""``ModelOutput``: what a model call returns, in every framework."""

from __future__ import annotations

from typing import Any, ClassVar


class ModelOutput(dict[str, Any]):
    """A mapping of the fields that are present, in order; also readable by attribute and by position.

    A field that was not computed is missing from the mapping and reads as ``None`` by attribute. Each backend derives
    its output classes from this one and registers them with its framework as a tree of tensors.

    >>> class Output(ModelOutput):
    ...     fields = ("loss", "logits")
    >>> output = Output(logits=3)
    >>> output.loss, output.logits, output["logits"], output[0], output.to_tuple()
    (None, 3, 3, 3, (3,))
    """

    fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **values: Any) -> None:
        unknown = set(values) - set(self.fields)
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        super().__init__({name: values[name] for name in self.fields if values.get(name) is not None})

    def __getattr__(self, name: str) -> Any:
        if name in type(self).fields:
            return self.get(name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def to_tuple(self) -> tuple[Any, ...]:
        """The present fields, in order; what ``return_dict=False`` returns."""
        return tuple(self.values())


BASE_FIELDS = ("last_hidden_state", "past_key_values", "hidden_states", "attentions")
CAUSAL_LM_FIELDS = ("loss", "logits", "past_key_values", "hidden_states", "attentions")
DOUBLE_HEADS_FIELDS = ("loss", "mc_loss", "logits", "mc_logits", "hidden_states", "attentions")
SEQUENCE_CLASSIFIER_FIELDS = ("loss", "logits", "hidden_states", "attentions")
