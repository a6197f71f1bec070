"""OpenAI GPT in NumPy float64, written from the paper (Radford et al. 2018, section 3) and the authors' code.

This is the oracle: a backend is right when it agrees with this, not with another backend. ``B`` batch, ``T``
query positions, ``S`` key positions, ``C`` n_embd, ``H`` heads, ``D`` head size, ``V`` vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.errors import CheckpointError, InputError, bullet_list
from gptcore.spec.autodiff import Array, Variable, backward, elementwise, log_softmax, softmax, standardize
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import IGNORED_LABEL, ArrayInfo, check_inputs, problem_type
from gptcore.spec.parameters import Head, parameters

Inputs = Mapping[str, NDArray[Any]]


def gelu(x: Variable) -> Variable:
    """The tanh form, 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), as in the authors' code."""
    v, c = x.value, math.sqrt(2 / math.pi)
    t = np.tanh(c * (v + 0.044715 * v**3))
    slope = 0.5 * (1 + t) + 0.5 * v * (1 - t**2) * c * (1 + 3 * 0.044715 * v**2)
    return elementwise(x, 0.5 * v * (1 + t), slope)


def relu(x: Variable) -> Variable:
    """max(x, 0)."""
    return elementwise(x, np.maximum(x.value, 0), (x.value > 0).astype(np.float64))


def silu(x: Variable) -> Variable:
    """x / (1 + exp(-x))."""
    s = 0.5 * (1 + np.tanh(0.5 * x.value))
    return elementwise(x, x.value * s, s * (1 + x.value * (1 - s)))


def tanh(x: Variable) -> Variable:
    """Hyperbolic tangent."""
    t = np.tanh(x.value)
    return elementwise(x, t, 1 - t**2)


ACTIVATIONS = {"gelu": gelu, "relu": relu, "silu": silu, "swish": silu}
SUMMARY_ACTIVATIONS = {"tanh": tanh, "relu": relu, "silu": silu, "swish": silu, "gelu_new": gelu}


class Reference:
    """One model with its weights.

    Args:
        config: Sizes and settings.
        weights: Canonical name -> array of any floating-point type, for every parameter of the model.
        head: Which of the four models.

    Raises:
        CheckpointError: The weights are not those of this model; all problems are listed at once.

    >>> from gptcore.spec.parameters import initial_value
    >>> config = OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2)
    >>> table = parameters(config, Head.LM).values()
    >>> model = Reference(config, {p.name: initial_value(p, config, 0) for p in table}, Head.LM)
    >>> ids = np.array([[1, 2, 3]])
    >>> model.forward({"input_ids": ids})["logits"].shape
    (1, 3, 11)
    >>> losses, gradients = model.loss_and_gradients({"input_ids": ids, "labels": ids})
    >>> round(losses["loss"], 2)  # near ln 11 = 2.40: nothing is learnt yet
    2.45
    """

    def __init__(self, config: OpenAIGPTConfig, weights: Mapping[str, NDArray[Any]], head: Head) -> None:
        problems = weight_problems(config, weights, head)
        if problems:
            raise CheckpointError("the weights do not fit the config:\n" + bullet_list(problems))
        self.config, self.head = config, head
        self.weights = {name: Variable(weights[name]) for name in parameters(config, head)}

    def forward(
        self, inputs: Inputs, *, output_attentions: bool = False, output_hidden_states: bool = False
    ) -> dict[str, Any]:
        """The present output fields as float64 arrays, in the order of the output classes."""
        fields = self._run(inputs)
        requested = {"attentions": output_attentions, "hidden_states": output_hidden_states}
        return {
            name: tuple(item.value for item in value) if isinstance(value, tuple) else value.value
            for name, value in fields.items()
            if requested.get(name, True)
        }

    def loss_and_gradients(self, inputs: Inputs) -> tuple[dict[str, float], dict[str, Array]]:
        """The losses by field name, and the gradient of their sum for every parameter (zeros where unused).

        Raises:
            InputError: The model has no loss, or its labels were not given.
        """
        if self.head is Head.NONE:
            raise InputError(f"cannot compute a loss: {self.head.architecture} has no head. Use a model with a head.")
        losses = {name: value for name, value in self._run(inputs).items() if name.endswith("loss")}
        if not losses:
            wanted = "labels or mc_labels" if self.head is Head.DOUBLE_HEADS else "labels"
            raise InputError(f"cannot compute a loss without labels. Pass {wanted}.")
        for weight in self.weights.values():
            weight.gradient = None
        first, *others = losses.values()
        for other in others:
            first = first + other
        backward(first)
        gradients = {
            name: np.zeros(weight.shape) if weight.gradient is None else weight.gradient
            for name, weight in self.weights.items()
        }
        return {name: float(value.value) for name, value in losses.items()}, gradients

    def _run(self, inputs: Inputs) -> dict[str, Any]:
        described = {name: ArrayInfo(a.shape, a.dtype.name, lambda a=a: a) for name, a in inputs.items()}  # type: ignore[misc]
        check_inputs(self.config, self.head, described)
        hidden_states, attentions = self._trunk(inputs)
        last = hidden_states[-1]
        fields: dict[str, Any]
        if self.head is Head.NONE:
            fields = {"last_hidden_state": last}
        elif self.head is Head.SEQUENCE_CLASSIFICATION:
            fields = self._classify(last, inputs)
        else:
            fields = self._language_model(last, inputs)
        return {**fields, "hidden_states": hidden_states, "attentions": attentions}

    def _trunk(self, inputs: Inputs) -> tuple[tuple[Variable, ...], tuple[Variable, ...]]:
        by_id = "input_ids" in inputs
        leading = inputs["input_ids"].shape[:-1] if by_id else inputs["inputs_embeds"].shape[:-2]
        rows = {name: flatten_leading(inputs[name]) for name in ROW_INPUTS if name in inputs}
        x = self._embed(inputs, rows)  # (B, T, C)
        allowed = attention_allowed(rows.get("attention_mask"), x.shape[1])
        head_mask = np.broadcast_to(inputs.get("head_mask", 1.0), (self.config.n_layer, self.config.n_head))
        states, attentions = [x], []
        for layer in range(self.config.n_layer):
            x, probabilities = self._block(f"h.{layer}", x, allowed, head_mask[layer])
            states.append(x)
            attentions.append(probabilities)
        return tuple(x.reshape(*leading, *x.shape[1:]) for x in states), tuple(attentions)

    def _embed(self, inputs: Inputs, rows: Inputs) -> Variable:
        tokens, positions = self.weights["tokens_embed.weight"], self.weights["positions_embed.weight"]
        if "input_ids" in rows:
            x = tokens[rows["input_ids"]]
        else:
            embeds = inputs["inputs_embeds"]
            x = Variable(embeds.reshape(-1, *embeds.shape[-2:]))
        if "position_ids" in rows:
            position_ids = rows["position_ids"]
        elif "attention_mask" in rows:  # padding takes no position
            position_ids = np.maximum(rows["attention_mask"].astype(np.int64).cumsum(-1) - 1, 0)
        else:
            position_ids = np.arange(x.shape[1])
        x = x + positions[position_ids]
        return x + tokens[rows["token_type_ids"]] if "token_type_ids" in rows else x

    # Post-LayerNorm, as in GPT-1 (GPT-2 normalises before each sub-layer; we do not):
    #   x ---+-- attn --(+)-- ln_1 ---+-- mlp --(+)-- ln_2 --> out
    #        +-----------^            +----------^
    def _block(
        self, name: str, x: Variable, allowed: NDArray[np.bool_], head_mask: NDArray[Any]
    ) -> tuple[Variable, Variable]:
        attended, probabilities = self._attention(f"{name}.attn", x, allowed, head_mask)
        x = self._layer_norm(f"{name}.ln_1", x + attended)
        inner = ACTIVATIONS[self.config.afn](self._project(f"{name}.mlp.c_fc", x))
        return self._layer_norm(f"{name}.ln_2", x + self._project(f"{name}.mlp.c_proj", inner)), probabilities

    def _attention(
        self, name: str, x: Variable, allowed: NDArray[np.bool_], head_mask: NDArray[Any]
    ) -> tuple[Variable, Variable]:
        batch, length, width = x.shape
        heads = self.config.n_head
        qkv = self._project(f"{name}.c_attn", x).reshape(batch, length, 3, heads, width // heads)
        query, key, value = (qkv[:, :, i].swapaxes(1, 2) for i in range(3))  # (B, H, T, D)
        scores = (query @ key.swapaxes(-1, -2)).scaled(1 / math.sqrt(width // heads))  # (B, H, T, S)
        probabilities = softmax(scores, allowed).scaled(head_mask[:, None, None])
        context = (probabilities @ value).swapaxes(1, 2).reshape(batch, length, width)  # (B, T, C)
        return self._project(f"{name}.c_proj", context), probabilities

    def _project(self, name: str, x: Variable) -> Variable:
        return x @ self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _layer_norm(self, name: str, x: Variable) -> Variable:
        standard = standardize(x, self.config.layer_norm_epsilon)
        return standard * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def _language_model(self, last: Variable, inputs: Inputs) -> dict[str, Variable]:
        logits = last @ self.weights["tokens_embed.weight"].swapaxes(0, 1)  # (..., T, V)
        fields = {"logits": logits}
        if self.head is Head.DOUBLE_HEADS:
            fields["mc_logits"] = self._summary(last, inputs.get("mc_token_ids"))
            if "mc_labels" in inputs:
                fields = {"mc_loss": cross_entropy(fields["mc_logits"], inputs["mc_labels"]), **fields}
        if "labels" in inputs:  # each position predicts the next token
            fields = {"loss": cross_entropy(logits[..., :-1, :], inputs["labels"][..., 1:]), **fields}
        return fields

    def _summary(self, last: Variable, cls_index: NDArray[Any] | None) -> Variable:
        """(..., N, T, C) -> (..., N), or (..., N, C) where nothing projects to one score."""
        length = last.shape[-2]
        kind = self.config.summary_type
        if kind == "mean":
            pooled = last.sum(axis=-2).scaled(1 / length)
        elif kind == "first":
            pooled = last[..., 0, :]
        elif kind == "last" or cls_index is None:
            pooled = last[..., -1, :]
        else:
            pooled = take_position(last, cls_index)
        if self.config.summary_use_proj:
            weight = self.weights["multiple_choice_head.summary.weight"]
            pooled = pooled @ weight.swapaxes(0, 1) + self.weights["multiple_choice_head.summary.bias"]
        if self.config.summary_activation is not None:
            pooled = SUMMARY_ACTIVATIONS[self.config.summary_activation](pooled)
        return pooled.reshape(*pooled.shape[:-1]) if pooled.shape[-1] == 1 else pooled

    def _classify(self, last: Variable, inputs: Inputs) -> dict[str, Variable]:
        if "attention_mask" in inputs:
            present = inputs["attention_mask"] != 0
        elif "input_ids" in inputs and self.config.pad_token_id is not None:
            present = inputs["input_ids"] != self.config.pad_token_id
        else:
            present = np.ones(last.shape[:-1], bool)
        position = (present * np.arange(present.shape[-1])).max(-1)
        logits = take_position(last, position) @ self.weights["score.weight"].swapaxes(0, 1)  # (B, K)
        if "labels" not in inputs:
            return {"logits": logits}
        labels = inputs["labels"]
        kind = problem_type(self.config, ArrayInfo(labels.shape, labels.dtype.name))
        return {"loss": classification_loss(logits, labels, kind), "logits": logits}


def weight_problems(config: OpenAIGPTConfig, weights: Mapping[str, NDArray[Any]], head: Head) -> list[str]:
    """One line for each array that is missing, not of this model, or of the wrong shape or type."""
    table = parameters(config, head)
    problems = [f"{name} is missing" for name in table if name not in weights]
    for name, array in weights.items():
        if name not in table:
            problems.append(f"{name} is not a parameter of {head.architecture}")
        elif array.shape != table[name].shape:
            problems.append(f"{name} must have shape {table[name].shape}; got {array.shape}")
        elif array.dtype.kind in "biu":  # bfloat16 travels as uint16: its bits are not its values
            problems.append(f"{name} must have a floating-point dtype; got {array.dtype}")
    return problems


ROW_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")


def flatten_leading(array: NDArray[Any]) -> NDArray[Any]:
    """All leading axes as one. (..., T) -> (B, T)."""
    return array.reshape(-1, array.shape[-1])


def attention_allowed(attention_mask: NDArray[Any] | None, length: int) -> NDArray[np.bool_]:
    """The keys that each query may read: no future, no padding, and itself if no other key is left.

    Returns:
        bool, (B or 1, 1, T, S).
    """
    allowed = np.tri(length, dtype=bool)[None]
    if attention_mask is not None:
        allowed = allowed & (attention_mask != 0)[:, None, :]
        allowed = allowed | (np.eye(length, dtype=bool) & ~allowed.any(-1, keepdims=True))
    return allowed[:, None]


def take_position(x: Variable, index: NDArray[Any]) -> Variable:
    """One position of each sequence. (..., T, C), (...) -> (..., C)."""
    rows = x.reshape(-1, *x.shape[-2:])
    return rows[np.arange(rows.shape[0]), index.reshape(-1)].reshape(*index.shape, x.shape[-1])


def cross_entropy(logits: Variable, labels: NDArray[Any]) -> Variable:
    """Mean over the labels that are not ignored, 0 if all are."""
    rows = log_softmax(logits.reshape(-1, logits.shape[-1]))
    labels = labels.reshape(-1)
    kept = np.flatnonzero(labels != IGNORED_LABEL)
    return rows[kept, labels[kept]].sum().scaled(-1 / max(len(kept), 1))


def classification_loss(logits: Variable, labels: NDArray[Any], kind: str) -> Variable:
    """Cross-entropy, mean squared error or binary cross-entropy, by ``problem_type``."""
    if kind == "single_label_classification":
        return cross_entropy(logits, labels)
    target = labels.reshape(logits.shape).astype(np.float64)
    if kind == "regression":
        difference = logits + Variable(-target)
        return (difference * difference).sum().scaled(1 / target.size)
    v = logits.value
    sigmoid = 0.5 * (1 + np.tanh(0.5 * v))
    losses = elementwise(logits, np.logaddexp(0, v) - target * v, sigmoid - target)
    return losses.sum().scaled(1 / target.size)
