"""The three heads and their losses (Radford et al. 2018, sections 3.1 to 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Unpack

import keras
import tensorflow as tf

from gpt_tf.cache import KVCache
from gpt_tf.embedding import Embedding
from gpt_tf.fit import Compared
from gpt_tf.generation import generate
from gpt_tf.modeling import Projection, TFOpenAIGPTModel, dropout, gelu, take_position
from gpt_tf.outputs import TFCausalLMOutput, TFOpenAIGPTDoubleHeadsModelOutput, TFSequenceClassifierOutput
from gpt_tf.pretrained import TFOpenAIGPTPreTrainedModel, build_once, describe, widened
from gpt_tf.weights import TensorLike, wide
from gptcore.generation import GenerateOutput, Generates, GenerationConfig, GenerationSettings
from gptcore.settings import passes_on
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import IGNORED_LABEL, problem_type
from gptcore.spec.outputs import ModelOutput
from gptcore.spec.parameters import Head, summary_width


def identity(x: tf.Tensor) -> tf.Tensor:
    """The activation of a summary that has none."""
    return x


SUMMARY_ACTIVATIONS: dict[str | None, Callable[[tf.Tensor], tf.Tensor]] = {
    None: identity,
    "tanh": tf.tanh,
    "relu": tf.nn.relu,
    "silu": tf.nn.silu,
    "swish": tf.nn.silu,
    "gelu_new": gelu,
}


def label_losses(
    logits: tf.Tensor, labels: tf.Tensor, kind: str = "single_label_classification"
) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss of each label for a ``problem_type``, in float32 at least, 0 if ignored; and whether it counts."""
    logits, labels = wide(logits), widened(labels)
    if kind == "single_label_classification":  # (..., V), (...)
        counts = labels != IGNORED_LABEL
        each = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.where(counts, labels, 0), logits)
        return tf.where(counts, each, 0), counts
    labels = tf.cast(tf.reshape(labels, tf.shape(logits)), logits.dtype)
    loss = tf.math.squared_difference if kind == "regression" else tf.nn.sigmoid_cross_entropy_with_logits
    each = loss(labels, logits)
    return each, tf.ones_like(each, tf.bool)


def mean_loss(each: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """Mean over the labels that count, 0 if none does. (...), (...) -> ()."""
    total = tf.reduce_sum(each)
    return total / tf.maximum(tf.reduce_sum(tf.cast(counts, total.dtype)), 1)


def compared(logits: tf.Tensor, labels: tf.Tensor, kind: str = "single_label_classification") -> Compared:
    """Logits and labels as a loss compares them, with the loss of each label."""
    return Compared(logits, labels, *label_losses(logits, labels, kind))


def cross_entropy(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean over the labels that are not ignored, 0 if all are ignored; at least in float32. (..., V), (...) -> ()."""
    return mean_loss(*label_losses(logits, labels))


def next_tokens(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The logits and the labels that they predict. (..., T, V), (..., T) -> (..., T - 1, V), (..., T - 1)."""
    return logits[..., :-1, :], labels[..., 1:]


def language_modeling_loss(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Each position predicts the next label. (..., T, V), (..., T) -> ()."""
    return cross_entropy(*next_tokens(logits, labels))


def classification_loss(logits: tf.Tensor, labels: tf.Tensor, kind: str) -> tf.Tensor:
    """Loss of the sequence classification head for a ``problem_type``. (B, K), labels -> ()."""
    return mean_loss(*label_losses(logits, labels, kind))


class LMHead(keras.layers.Layer):
    """The logits of all tokens, from the token embedding: a tied weight is one parameter, used twice."""

    def call(self, hidden_states: tf.Tensor, tokens_embed: Embedding) -> tf.Tensor:  # (..., T, C), the embedding
        rows = tf.reshape(hidden_states, (-1, tokens_embed.width))
        logits = tf.matmul(rows, tokens_embed.embeddings, transpose_b=True)
        return tf.reshape(logits, (*keras.ops.shape(hidden_states)[:-1], tokens_embed.rows))  # (..., T, V)


class SequenceSummary(keras.layers.Layer):
    """One vector or score per sequence, from one position or the mean."""

    def __init__(self, config: OpenAIGPTConfig, **keras_options: Any) -> None:
        super().__init__(**keras_options)
        dtype = self.dtype_policy
        self.summary_type = config.summary_type
        self.first_dropout = dropout(config.summary_first_dropout, "first_dropout", dtype)
        self.summary = keras.layers.Identity(dtype=dtype)
        if config.summary_use_proj:
            self.summary = Projection(config.n_embd, summary_width(config), dtype=dtype, name="summary")
        self.activation = SUMMARY_ACTIVATIONS[config.summary_activation]
        self.last_dropout = dropout(config.summary_last_dropout, "last_dropout", dtype)

    def build(self, input_shape: Any = None) -> None:
        self.summary.build(input_shape)

    def call(self, hidden_states: tf.Tensor, cls_index: tf.Tensor | None = None) -> tf.Tensor:  # (..., T, C), (...)
        pooled = self.summary(self.first_dropout(self.pool(hidden_states, cls_index)))  # (..., C)
        return self.last_dropout(tf.cast(self.activation(wide(pooled)), self.compute_dtype))

    def pool(self, hidden_states: tf.Tensor, cls_index: tf.Tensor | None) -> tf.Tensor:
        if self.summary_type == "mean":
            return tf.cast(tf.reduce_mean(wide(hidden_states), -2), self.compute_dtype)
        if self.summary_type == "first":
            return hidden_states[..., 0, :]
        if self.summary_type == "last" or cls_index is None:
            return hidden_states[..., -1, :]
        return take_position(hidden_states, cls_index)


@keras.saving.register_keras_serializable(package="gptcore")
class TFOpenAIGPTLMHeadModel(Generates, TFOpenAIGPTPreTrainedModel):
    """The trunk with a language-modelling head tied to the token embedding.

    The constructor takes the same arguments as that of ``TFOpenAIGPTModel``.

    >>> config = OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2)
    >>> model = TFOpenAIGPTLMHeadModel(config)
    >>> ids = tf.constant([[1, 2, 3]])
    >>> output = model(ids, labels=ids)
    >>> output.logits.shape, output.loss.shape
    (TensorShape([1, 3, 11]), TensorShape([]))
    """

    head = Head.LM
    label_names = ("labels",)

    def __init__(
        self,
        config: OpenAIGPTConfig,
        *,
        dtype: str | tf.DType | keras.DTypePolicy | None = None,
        attn_implementation: str = "sdpa",
        seed: int | None = 0,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(config, dtype=dtype, name=name, trainable=trainable)
        dtype = self.dtype_policy
        settings: dict[str, Any] = {"dtype": dtype, "attn_implementation": attn_implementation, "seed": None}
        self.transformer = TFOpenAIGPTModel(config, name="transformer", **settings)
        self.lm_head = LMHead(dtype=dtype, name="lm_head")
        self.materialize(seed)

    def build(self, input_shape: Any = None) -> None:
        """The head has no variables: it is the token embedding."""
        build_once(self.lm_head)

    def call(
        self,
        input_ids: TensorLike | Mapping[str, TensorLike] | None = None,
        attention_mask: TensorLike | None = None,
        token_type_ids: TensorLike | None = None,
        position_ids: TensorLike | None = None,
        head_mask: TensorLike | None = None,
        inputs_embeds: TensorLike | None = None,
        labels: TensorLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        past_key_values: KVCache | None = None,
        use_cache: bool | None = None,
        training: bool | None = None,
    ) -> TFCausalLMOutput | Any:
        """Run the model. The arguments are those of ``TFOpenAIGPTModel.call``, and these:

        Args:
            labels: (..., T) integer token ids. The model shifts them, so pass ``input_ids``. -100 is ignored; if all
                labels are -100, the loss is 0.

        Returns:
            TFCausalLMOutput.
        """
        input_ids, inputs_embeds, labels = self._check(input_ids=input_ids, inputs_embeds=inputs_embeds, labels=labels)
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        flags: dict[str, Any] = {
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
            "return_dict": True,
        }
        output = self.transformer(
            *inputs, **flags, past_key_values=past_key_values, use_cache=use_cache, training=training
        )
        logits = self.lm_head(output.last_hidden_state, tokens_embed=self.transformer.tokens_embed)
        output = TFCausalLMOutput(
            loss=None if labels is None else language_modeling_loss(logits, labels),
            logits=logits,
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return output if self._choose(return_dict, "return_dict") else output.to_tuple()

    def compared(self, inputs: Mapping[str, Any], output: ModelOutput) -> dict[str, Compared]:
        """What the loss compares; see ``gpt_tf.fit``."""
        if inputs.get("labels") is None:
            return {}
        return {"labels": compared(*next_tokens(output.logits, inputs["labels"]))}

    _own_forward = call  # if a subclass overrides it, generate calls the override

    @passes_on(GenerationConfig)
    def generate(
        self,
        input_ids: TensorLike | str | Sequence[str],
        attention_mask: TensorLike | None = None,
        generation_config: GenerationConfig | None = None,
        streamer: Any = None,
        tokenizer: Any = None,
        **settings: Unpack[GenerationSettings],
    ) -> tf.Tensor | GenerateOutput | str | list[str]:
        """Continue prompts, with a KV cache and without dropout; the same ids in every framework.

        Greedy search and sampling compile to one graph, and also work inside ``tf.function``. The result then always
        has ``max_new_tokens`` new columns, with padding after the end of a row. Settings that run in Python, such as
        ``num_beams``, ``repetition_penalty``, ``stop_strings`` and ``streamer``, raise an error there.

        Args:
            input_ids: (B, T) integer token ids of the prompts; or a text, or a list of texts.
            attention_mask: (B, T), 1 for tokens and 0 for padding, on either side. Default: 0 where the id is
                ``pad_token_id``, unless that id also ends a text; else 1.
            generation_config: A ``GenerationConfig``. Default: ``self.generation_config``.
            streamer: An object whose ``put`` gets the prompt and each new token, and whose ``end`` is called after
                the last one. For one row only.
            tokenizer: A tokenizer that decodes ids; needed for ``stop_strings``. It also encodes text, by default
                ``model.tokenizer``.
            settings: Settings of ``GenerationConfig``; they override those of ``generation_config``.

        Returns:
            Ids (B * num_return_sequences, T + N): the prompt, then N new tokens; rows that end earlier are padded. With
            ``return_dict_in_generate=True``, a ``GenerateOutput``. For a text, the prompt and its continuation as one
            text, as ``gptcore.pipeline`` writes it; for a list of texts, or with ``num_return_sequences`` above 1, a
            list of texts.

        Raises:
            ConfigError, InputError: A setting or the prompt is invalid, or settings contradict each other.
        """
        return generate(self, input_ids, attention_mask, generation_config, streamer, tokenizer, settings)


@keras.saving.register_keras_serializable(package="gptcore")
class TFOpenAIGPTDoubleHeadsModel(TFOpenAIGPTPreTrainedModel):
    """The trunk with a language-modelling and a multiple-choice head.

    The constructor takes the same arguments as that of ``TFOpenAIGPTModel``.

    >>> config = OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2)
    >>> model = TFOpenAIGPTDoubleHeadsModel(config)
    >>> choices = tf.constant([[[1, 2, 3], [1, 2, 4]]])  # one example, two choices
    >>> model(choices, mc_token_ids=tf.constant([[2, 2]])).mc_logits.shape
    TensorShape([1, 2])
    """

    head = Head.DOUBLE_HEADS
    label_names = ("labels", "mc_labels")

    def __init__(
        self,
        config: OpenAIGPTConfig,
        *,
        dtype: str | tf.DType | keras.DTypePolicy | None = None,
        attn_implementation: str = "sdpa",
        seed: int | None = 0,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(config, dtype=dtype, name=name, trainable=trainable)
        dtype = self.dtype_policy
        settings: dict[str, Any] = {"dtype": dtype, "attn_implementation": attn_implementation, "seed": None}
        self.transformer = TFOpenAIGPTModel(config, name="transformer", **settings)
        self.lm_head = LMHead(dtype=dtype, name="lm_head")
        self.multiple_choice_head = SequenceSummary(config, dtype=dtype, name="multiple_choice_head")
        self.materialize(seed)

    def build(self, input_shape: Any = None) -> None:
        """Make the variables of the heads."""
        build_once(self.lm_head, self.multiple_choice_head)

    def call(
        self,
        input_ids: TensorLike | Mapping[str, TensorLike] | None = None,
        attention_mask: TensorLike | None = None,
        token_type_ids: TensorLike | None = None,
        position_ids: TensorLike | None = None,
        head_mask: TensorLike | None = None,
        inputs_embeds: TensorLike | None = None,
        mc_token_ids: TensorLike | None = None,
        labels: TensorLike | None = None,
        mc_labels: TensorLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = None,
    ) -> TFOpenAIGPTDoubleHeadsModelOutput | Any:
        """Run the model, without a cache. The arguments are those of ``TFOpenAIGPTModel.call``, and these:

        With N choices per example, ``input_ids`` is (..., N, T).

        Args:
            mc_token_ids: (..., N) integer position of the classification token in each choice. Default: the last
                position. Has no effect unless ``config.summary_type`` is ``"cls_index"``, its default.
            labels: (..., N, T) integer token ids. The model shifts them. -100 is ignored.
            mc_labels: (...) integer index of the right choice; -100 is ignored.

        Returns:
            TFOpenAIGPTDoubleHeadsModelOutput.
        """
        input_ids, inputs_embeds, mc_token_ids, labels, mc_labels = self._check(
            input_ids=input_ids,
            inputs_embeds=inputs_embeds,
            mc_token_ids=mc_token_ids,
            labels=labels,
            mc_labels=mc_labels,
        )
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        flags: dict[str, Any] = {
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
            "return_dict": True,
        }
        output = self.transformer(*inputs, **flags, training=training)
        logits = self.lm_head(output.last_hidden_state, tokens_embed=self.transformer.tokens_embed)
        mc_logits = self.multiple_choice_head(output.last_hidden_state, mc_token_ids)
        mc_logits = tf.squeeze(mc_logits, -1) if mc_logits.shape[-1] == 1 else mc_logits  # (..., N)
        output = TFOpenAIGPTDoubleHeadsModelOutput(
            loss=None if labels is None else language_modeling_loss(logits, labels),
            mc_loss=None if mc_labels is None else cross_entropy(mc_logits, mc_labels),
            logits=logits,
            mc_logits=mc_logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return output if self._choose(return_dict, "return_dict") else output.to_tuple()

    def compared(self, inputs: Mapping[str, Any], output: ModelOutput) -> dict[str, Compared]:
        """What the two losses compare; see ``gpt_tf.fit``."""
        pairs = {}
        if inputs.get("labels") is not None:
            pairs["labels"] = compared(*next_tokens(output.logits, inputs["labels"]))
        if inputs.get("mc_labels") is not None:
            pairs["mc_labels"] = compared(output.mc_logits, inputs["mc_labels"])
        return pairs


@keras.saving.register_keras_serializable(package="gptcore")
class TFOpenAIGPTForSequenceClassification(TFOpenAIGPTPreTrainedModel):
    """The trunk with a linear layer on the last token of each sequence.

    The last token is the last that ``attention_mask`` attends to; without a mask, the last that is not
    ``config.pad_token_id``; without both, the last column.

    The constructor takes the same arguments as that of ``TFOpenAIGPTModel``.

    >>> config = OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2, num_labels=3)
    >>> model = TFOpenAIGPTForSequenceClassification(config)
    >>> model(tf.constant([[1, 2, 3]]), labels=tf.constant([2])).logits.shape
    TensorShape([1, 3])
    """

    head = Head.SEQUENCE_CLASSIFICATION
    label_names = ("labels",)

    def __init__(
        self,
        config: OpenAIGPTConfig,
        *,
        dtype: str | tf.DType | keras.DTypePolicy | None = None,
        attn_implementation: str = "sdpa",
        seed: int | None = 0,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(config, dtype=dtype, name=name, trainable=trainable)
        dtype = self.dtype_policy
        settings: dict[str, Any] = {"dtype": dtype, "attn_implementation": attn_implementation, "seed": None}
        self.transformer = TFOpenAIGPTModel(config, name="transformer", **settings)
        self.score = Projection(config.n_embd, config.num_labels, use_bias=False, dtype=dtype, name="score")
        self.materialize(seed)

    def build(self, input_shape: Any = None) -> None:
        """Make the variables of the head."""
        build_once(self.score)

    def call(
        self,
        input_ids: TensorLike | Mapping[str, TensorLike] | None = None,
        attention_mask: TensorLike | None = None,
        token_type_ids: TensorLike | None = None,
        position_ids: TensorLike | None = None,
        head_mask: TensorLike | None = None,
        inputs_embeds: TensorLike | None = None,
        labels: TensorLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        training: bool | None = None,
    ) -> TFSequenceClassifierOutput | Any:
        """Run the model, without a cache. The arguments are those of ``TFOpenAIGPTModel.call``, and these:

        Args:
            labels: (B,) integer class indices, where -100 is ignored, or (B, K) floats for several labels at once or
                for regression, with K = ``num_labels``; also (B,) floats if K is 1. ``config.problem_type`` selects the
                loss. If it is unset, the loss is that of regression if K is 1; else integers are classes and floats are
                several labels at once.

        Returns:
            TFSequenceClassifierOutput.
        """
        input_ids, attention_mask, inputs_embeds, labels = self._check(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, labels=labels
        )
        inputs = (input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds)
        flags: dict[str, Any] = {
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
            "return_dict": True,
        }
        output = self.transformer(*inputs, **flags, training=training)
        last = self.last_position(input_ids, attention_mask)
        hidden_states = output.last_hidden_state
        pooled = hidden_states[..., -1, :] if last is None else take_position(hidden_states, last)
        logits = self.score(pooled)  # (B, K)
        output = TFSequenceClassifierOutput(
            loss=None if labels is None else classification_loss(logits, labels, self.kind(labels)),
            logits=logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
        return output if self._choose(return_dict, "return_dict") else output.to_tuple()

    def compared(self, inputs: Mapping[str, Any], output: ModelOutput) -> dict[str, Compared]:
        """What the loss compares; see ``gpt_tf.fit``."""
        labels = inputs.get("labels")
        return {} if labels is None else {"labels": compared(output.logits, labels, self.kind(labels))}

    def kind(self, labels: tf.Tensor) -> str:
        """The ``problem_type`` of these labels."""
        return problem_type(self.config, describe(labels))

    def last_position(self, input_ids: tf.Tensor | None, attention_mask: tf.Tensor | None) -> tf.Tensor | None:
        """Index of each row's last token, (B,): by the mask, else by ``pad_token_id``; ``None`` for the last column."""
        if attention_mask is not None:
            present = tf.cast(attention_mask, tf.bool)
        elif input_ids is not None and self.config.pad_token_id is not None:
            present = input_ids != self.config.pad_token_id
        else:
            return None
        return tf.reduce_max(tf.cast(present, tf.int32) * tf.range(keras.ops.shape(present)[-1]), -1)
