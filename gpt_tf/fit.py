"""``compile``, ``fit`` and ``evaluate`` of Keras, with the models' own losses."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gpt_tf.text import ReadsText, columns_of, is_texts
from gptcore.errors import ConfigError, InputError
from gptcore.spec.inputs import IGNORED_LABEL
from gptcore.spec.outputs import ModelOutput
from gptcore.spec.parameters import Head

LOSSES = {"labels": "loss", "mc_labels": "mc_loss"}
BY_NAME = 'Pass {"input_ids": ids, "attention_mask": mask}.'
LOGITS = {"labels": "logits", "mc_labels": "mc_logits"}


class Compared(NamedTuple):
    """What one of the model's own losses compares.

    Attributes:
        logits, labels: Aligned; the labels of language modelling are already shifted.
        losses: The loss of each label, 0 if it is ignored.
        counts: Whether each label counts, as bool.
    """

    logits: tf.Tensor
    labels: tf.Tensor
    losses: tf.Tensor
    counts: tf.Tensor


class Fit(ReadsText):
    """``fit`` with the model's own losses after ``compile(optimizer)``, or with a compiled loss on the logits.

    The model's own losses read the labels from the dict of inputs. ``y`` may hold them too: a dict with the same names,
    or the array of class labels. ``sample_weight`` multiplies the losses of an example, as in Keras: the weighted sum
    is divided by the number of labels. ``class_weight`` works for sequence classification only. ``loss_weights`` is a
    dict with the keys ``loss`` and ``mc_loss``. Metrics get labels and logits, without ignored labels; in language
    modelling, the logits of each position and the id of the next token. The loss that Keras reports for an epoch
    weights each batch by its number of examples, not of labels. For the mean over all labels, use
    ``metrics=[keras.metrics.SparseCategoricalCrossentropy(from_logits=True)]``.

    As in direct calls, if ``problem_type`` is unset and ``num_labels`` is above 1, a classifier takes float labels of
    shape (batch, num_labels) as several labels at once; for cross entropy, pass class indices.

    A compiled loss or metric gets ``logits`` (of the trunk: ``last_hidden_state``) or, if ``y`` is a dict, the outputs
    that the keys of ``y`` name: ``compile(loss={"logits": ..., "mc_logits": ...})``.

    ``x`` of ``fit``, ``evaluate``, ``predict`` and their ``..._on_batch`` may be text: a list of texts or, for pairs,
    two lists, as in ``tokenizer(texts, text_pairs)``. ``model.tokenizer`` encodes them, and rows are padded to a
    multiple of 32 tokens or to ``n_positions``. A language model learns to predict each next token of the texts;
    other models need ``y``.

    On several replicas of ``tf.distribute``, a loss is the mean over the labels of all of them.

    Keras cannot compile a loss for a functional model that returns a whole output object. Select its tensors:
    ``keras.Model(ids, model(ids).logits)``, or ``keras.Model(ids, dict(model(ids)))`` for all by name.

    With ``jit_compile=True`` values cannot be checked: ids outside of the vocabulary make the outputs of their sequence
    NaN, and labels outside of it make the loss NaN.
    """

    label_names: ClassVar[tuple[str, ...]] = ()

    def compared(self, inputs: Mapping[str, Any], output: ModelOutput) -> dict[str, Compared]:
        """What the model's own losses compare, by the name of the labels; empty without labels."""
        return {}

    @functools.wraps(keras.Model.fit)
    def fit(self, x: Any = None, y: Any = None, *arguments: Any, **options: Any) -> keras.callbacks.History:
        options = by_name(keras.Model.fit, arguments, options)
        validation = options.get("validation_data")
        if isinstance(validation, (list, tuple)) and len(validation) in (2, 3):
            inputs, targets, *weights = validation
            weighted = {"sample_weight": weights[0]} if weights else {}
            options["validation_data"] = (*self.with_y(inputs, targets, weighted), *weighted.values())
        return super().fit(*self.with_y(x, y, options), **options)

    @functools.wraps(keras.Model.evaluate)
    def evaluate(self, x: Any = None, y: Any = None, *arguments: Any, **options: Any) -> Any:
        options = by_name(keras.Model.evaluate, arguments, options)
        return super().evaluate(*self.with_y(x, y, options), **options)

    @functools.wraps(keras.Model.predict)
    def predict(self, x: Any, *arguments: Any, **options: Any) -> Any:
        return super().predict(self.with_ids(x), *arguments, **options)

    @functools.wraps(keras.Model.train_on_batch)
    def train_on_batch(self, x: Any, y: Any = None, *arguments: Any, **options: Any) -> Any:
        options = by_name(keras.Model.train_on_batch, arguments, options)
        return super().train_on_batch(*self.with_y(x, y, options), **options)

    @functools.wraps(keras.Model.test_on_batch)
    def test_on_batch(self, x: Any, y: Any = None, *arguments: Any, **options: Any) -> Any:
        options = by_name(keras.Model.test_on_batch, arguments, options)
        return super().test_on_batch(*self.with_y(x, y, options), **options)

    @functools.wraps(keras.Model.predict_on_batch)
    def predict_on_batch(self, x: Any) -> Any:
        return super().predict_on_batch(self.with_ids(x))

    def loss_weights(self) -> Mapping[str, float]:
        """The ``loss_weights`` of ``compile``. Keras compiles a loaded model itself, so its record is read."""
        weights, own = self._compile_config.config["loss_weights"], [LOSSES[name] for name in self.label_names]
        if weights is None:
            return {}
        if not isinstance(weights, Mapping) or not set(weights) <= set(own):
            raise ConfigError(
                f"loss_weights must be a dict with keys among {own}; got {weights!r}. "
                "Name the model's own losses, or compile a loss."
            )
        return weights

    def with_y(self, x: Any, y: Any, options: dict[str, Any]) -> tuple[Any, Any]:
        """The inputs and ``y``. With weights, labels move from the inputs to ``y``.

        Otherwise Keras would drop the weights.
        """
        if is_texts(y):
            raise InputError("labels must be numbers; got text. Map them: [model.config.label2id[each] for each in y].")
        if columns_of(x) is not None:
            x, y = self.with_ids(x), np.asarray(y) if isinstance(y, (list, tuple)) else y
            if y is None and self.head is Head.LM:
                x["labels"] = np.where(x["attention_mask"], x["input_ids"], IGNORED_LABEL)
            if isinstance(options.get("sample_weight"), (list, tuple)):
                options["sample_weight"] = np.asarray(options["sample_weight"])
        weights = [name for name in ("sample_weight", "class_weight") if options.get(name) is not None]
        if not weights or self._compile_loss is not None:
            return x, y
        by_class = "class_weight" in weights
        if by_class and self.head is not Head.SEQUENCE_CLASSIFICATION:
            raise InputError("class_weight must be None for labels that are tokens. Pass a sample_weight per example.")
        if by_class and isinstance(x, tf.data.Dataset):
            return x.map(with_labels_apart), y
        if y is None and isinstance(x, Mapping):
            y = {name: x[name] for name in self.label_names if name in x}
            x = {name: value for name, value in x.items() if name not in y}
        return x, y.get("labels") if by_class and isinstance(y, Mapping) else y

    def train_step(self, data: Any) -> dict[str, Any]:
        """One step of ``fit``."""
        return super().train_step(self.with_fields(data))

    def test_step(self, data: Any) -> dict[str, Any]:
        """One step of ``evaluate``."""
        return super().test_step(self.with_fields(data))

    def predict_step(self, data: Any) -> Any:
        """One step of ``predict``: the output without the losses, which are not per example."""
        output = super().predict_step(self.with_fields(data))
        if not isinstance(output, ModelOutput):  # of a subclass
            return output
        return type(output)(**{name: value for name, value in output.items() if name not in LOSSES.values()})

    def with_fields(self, data: Any) -> tuple[Mapping[str, Any], Any, Any]:
        """A batch whose inputs are a dict, with the labels if the model's own loss is used.

        The model then returns an output object.
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        if self._compile_loss is None:
            x = self.with_labels(x, y)
        inputs = named(x)
        if not self.config.return_dict:
            inputs = {**inputs, "return_dict": True}
        return inputs, y, sample_weight

    def with_labels(self, x: Any, y: Any) -> Mapping[str, Any]:
        """The inputs, with the labels of ``y`` added."""
        inputs = named(x)
        if y is None:
            return inputs
        if not isinstance(y, Mapping) and self.head is Head.SEQUENCE_CLASSIFICATION:
            y = {"labels": y}
        if not isinstance(y, Mapping) or not set(y) <= set(self.label_names):
            raise InputError(
                f"y must be a dict with keys among {list(self.label_names)} for the model's own loss; "
                f"got {list(y) if isinstance(y, Mapping) else 'an array'}. Name the labels, or compile a loss."
            )
        if set(y) & set(inputs):
            raise InputError(f"{min(set(y) & set(inputs))} must be in the inputs or in y; got both. Leave one out.")
        return {**inputs, **y}

    def labelled(self, x: Any, y: Any) -> dict[str, Any]:
        """The inputs with labels. While Keras builds, and in a user's ``train_step``, labels are still in ``y``."""
        return {**self.with_labels({}, y), **named(x)}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> tf.Tensor:
        """The compiled loss on the logits or, if there is none, the sum of the model's own losses."""
        if self._compile_loss is not None:
            if y is None:
                raise InputError(
                    "y must hold the targets of the compiled loss; got None. "
                    "Pass y, or compile without a loss to use the labels in the inputs."
                )
            return super().compute_loss(x, y, scores(y_pred, y), sample_weight, training)
        compared = self.compared(self.labelled(x, y), y_pred)
        if not compared:
            raise InputError("cannot compute a loss: labels are missing. Add them to the inputs, or compile a loss.")
        losses, loss_weights = [], self.loss_weights()
        for name, (_, _, each, counts) in compared.items():
            loss, count = y_pred.get(LOSSES[name]), tf.reduce_sum(tf.cast(counts, each.dtype))
            if sample_weight is not None:
                each = each * per_label(sample_weight, name, each)
            if sample_weight is not None or loss is None:  # a user's own train_step calls the model without labels
                loss = tf.reduce_sum(each) / tf.maximum(count, 1)
            losses.append(over_replicas(loss, count) * loss_weights.get(LOSSES[name], 1))
        return sum([*losses, *map(self._aggregate_additional_loss, self.losses)])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """The compiled metrics on the logits."""
        if self._compile_metrics is None:
            return super().compute_metrics(x, y, y_pred, sample_weight)
        if self._compile_loss is not None:
            return super().compute_metrics(x, y, scores(y_pred, y), sample_weight)
        labels, logits, weights = {}, {}, {}
        for name, (predicted, expected, each, counts) in self.compared(self.labelled(x, y), y_pred).items():
            weight = tf.ones_like(each) if sample_weight is None else per_label(sample_weight, name, each)
            if len(predicted.shape) > len(counts.shape):  # classes, some of which may be ignored
                predicted, expected, weight = (tf.boolean_mask(a, counts) for a in (predicted, expected, weight))
            labels[LOGITS[name]], logits[LOGITS[name]], weights[LOGITS[name]] = expected, predicted, weight
        return super().compute_metrics(x, labels, logits, None if sample_weight is None else weights)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Build with the batch of one replica: Keras would take the mean of all, in which ids are not integers."""
        if iterator is not None and self._distribute_strategy is not None:
            _, _, batches = next(iter(iterator))
            first = lambda value: self.distribute_strategy.experimental_local_results(value)[0]  # noqa: E731
            iterator, data_batch = None, tf.nest.map_structure(first, next(batches))
        super()._maybe_symbolic_build(iterator, data_batch)


def named(x: Any) -> Mapping[str, Any]:
    """The inputs as a dict."""
    if isinstance(x, (list, tuple)):
        raise InputError(f"x must be an array, or a dict of arrays; got a list of {len(x)}. {BY_NAME}")
    return x if isinstance(x, Mapping) else {"input_ids": x}


def with_labels_apart(inputs: Any, y: Any = None, *weights: Any) -> tuple[Any, ...]:
    """An element of a dataset as inputs, an array of labels, and weights: Keras cannot weight classes in a dict."""
    y = inputs if y is None else y
    inputs = {name: value for name, value in named(inputs).items() if name != "labels"}
    return inputs, y["labels"] if isinstance(y, Mapping) else y, *weights


def by_name(method: Callable[..., Any], arguments: tuple[Any, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a method of Keras by name; ``arguments`` are those after ``x`` and ``y``."""
    _, _, _, *bound = inspect.signature(method).bind(None, None, None, *arguments, **options).arguments.items()
    named = dict(bound)
    further = named.pop("kwargs", {})
    return {**named, **further}


def scores(output: Any, y: Any) -> Any:
    """The outputs that a compiled loss or metric compares with the targets; any other kind of output unchanged."""
    if not isinstance(output, ModelOutput):
        return output
    if isinstance(y, Mapping):
        if not set(y) <= set(output):
            raise InputError(
                f"y must be an array or have keys among {list(output)} for a compiled loss or metric; got {list(y)}. "
                "Rename the targets."
            )
        return {name: output[name] for name in y}
    return output["logits"] if "logits" in output else output["last_hidden_state"]


def per_label(sample_weight: Any, name: str, losses: tf.Tensor) -> tf.Tensor:
    """Expand weights per example to weights per label; ``sample_weight`` may be a dict by the name of the labels."""
    weights = sample_weight[name] if isinstance(sample_weight, Mapping) else sample_weight
    if len(weights.shape) != 1 and tuple(weights.shape[1:]) != (1,):
        raise InputError(
            f"sample_weight must have the shape (batch,); got {tuple(weights.shape)}. "
            "To ignore single tokens, set their labels to -100."
        )
    weights = tf.reshape(weights, (-1, *[1] * (len(losses.shape) - 1)))
    return tf.broadcast_to(tf.cast(weights, losses.dtype), tf.shape(losses))


def over_replicas(loss: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """The mean over the labels of all replicas, divided by the number of replicas: Keras sums their gradients."""
    replica = tf.distribute.get_replica_context()
    replicas = replica.num_replicas_in_sync if replica else 1
    if replicas == 1:
        return loss
    total, count = replica.all_reduce(tf.distribute.ReduceOp.SUM, [loss * count, count])
    return total / tf.maximum(count, 1) / replicas
