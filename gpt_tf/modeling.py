"""The OpenAI GPT forward pass in Keras on TensorFlow (Radford et al. 2018, section 3.1), top to bottom.

``B`` batch, ``T`` query positions, ``S`` key positions, ``C`` n_embd, ``H`` heads, ``D`` head size, ``V`` vocabulary,
``P`` n_positions, ``L`` layers. Comments such as ``# (B, T, C)`` give the shape of the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import keras
import tensorflow as tf

from gpt_tf.cache import KVCache, write
from gpt_tf.embedding import Embedding, unset
from gpt_tf.outputs import TFBaseModelOutput
from gpt_tf.pretrained import TFOpenAIGPTPreTrainedModel, build_once
from gpt_tf.weights import TensorLike, wide
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head, feed_forward_width

Slots = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # keys and values of a layer, and the number of filled slots
Rows = TypeVar("Rows", tf.Tensor, None)


def gelu(x: tf.Tensor) -> tf.Tensor:
    """GELU in the tanh form of OpenAI's code."""
    # ``tf.nn.gelu`` rounds its constants to float32, also for float64 inputs.
    return 0.5 * x * (1 + tf.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "gelu": gelu,
    "relu": tf.nn.relu,
    "silu": tf.nn.silu,
    "swish": tf.nn.silu,
}


def attention_allowed(attention_mask: tf.Tensor | None, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """Which keys each query may read, (B, 1, T, S) bool: no future tokens and no padding, but at least one key.

    A query that could read nothing (padding on the left) reads itself, so that no softmax is over an empty set.
    ``queries`` (T,) and ``keys`` (S,) are positions in the sequence; ``attention_mask`` (B, S) is 0 for padding.
    """
    allowed = keys <= queries[:, None]  # (T, S)
    if attention_mask is None:
        return allowed[None, None]  # (1, 1, T, S)
    allowed = allowed & tf.cast(attention_mask, tf.bool)[:, None, :]  # (B, T, S)
    reads_nothing = ~tf.reduce_any(allowed, -1, keepdims=True)
    itself = keys == queries[:, None]
    return (allowed | (reads_nothing & itself))[:, None]  # (B, 1, T, S)


def eager_attention(
    query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, allowed: tf.Tensor, dropout: keras.layers.Dropout
) -> tuple[tf.Tensor, tf.Tensor]:
    """Softmax attention written out: the context (B, T, H, D) and the probabilities (B, H, T, S).

    ``query`` is (B, T, H, D), ``key`` and ``value`` are (B, S, H, D).
    """
    scores = tf.einsum("BTHD,BSHD->BHTS", query, key) / math.sqrt(query.shape[-1])  # (B, H, T, S)
    scores = tf.where(allowed, scores, scores.dtype.min)
    probabilities = tf.cast(tf.nn.softmax(wide(scores)), scores.dtype)
    probabilities = dropout(probabilities)
    return tf.einsum("BHTS,BSHD->BTHD", probabilities, value), probabilities  # (B, T, H, D)


def sdpa_attention(query: tf.Tensor, key: tf.Tensor, value: tf.Tensor, allowed: tf.Tensor | None) -> tf.Tensor:
    """As ``eager_attention``, but by Keras' own operation and without returning the probabilities.

    ``allowed=None`` is the plain causal mask.
    """
    return keras.ops.dot_product_attention(
        query,
        key,
        value,
        mask=allowed,
        is_causal=allowed is None,
        scale=tf.constant(1 / math.sqrt(query.shape[-1]), tf.float64),  # a float would be rounded to float32
    )


class Projection(keras.layers.Layer):
    """``x @ kernel + bias``; the kernel is stored (in, out), as in OpenAI's code and the published files."""

    def __init__(self, width_in: int, width_out: int, use_bias: bool = True, **keras_options: Any) -> None:
        super().__init__(**keras_options)
        self.width_in, self.width_out, self.use_bias = width_in, width_out, use_bias

    def build(self, input_shape: Any = None) -> None:
        self.kernel = self.add_weight(shape=(self.width_in, self.width_out), initializer=unset, name="kernel")
        if self.use_bias:
            self.bias = self.add_weight(shape=(self.width_out,), initializer=unset, name="bias")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        rows = tf.matmul(tf.reshape(x, (-1, self.width_in)), self.kernel)
        rows = tf.nn.bias_add(rows, self.bias) if self.use_bias else rows
        return tf.reshape(rows, (*keras.ops.shape(x)[:-1], self.width_out))


def dropout(rate: float, name: str, dtype: keras.DTypePolicy) -> keras.layers.Dropout:
    """A dropout layer."""
    return keras.layers.Dropout(rate, name=name, dtype=dtype)


def layer_norm(config: OpenAIGPTConfig, name: str, dtype: keras.DTypePolicy) -> keras.layers.LayerNormalization:
    """A LayerNorm over the last axis."""
    return keras.layers.LayerNormalization(axis=-1, epsilon=config.layer_norm_epsilon, name=name, dtype=dtype)


class Attention(keras.layers.Layer):
    """Causal self-attention: project, split heads, attend, merge heads, project."""

    def __init__(self, config: OpenAIGPTConfig, **keras_options: Any) -> None:
        super().__init__(**keras_options)
        self.n_head, self.n_embd = config.n_head, config.n_embd
        dtype = self.dtype_policy
        self.attn_dropout = dropout(config.attn_pdrop, "attn_dropout", dtype)
        self.c_attn = Projection(config.n_embd, 3 * config.n_embd, dtype=dtype, name="c_attn")
        self.c_proj = Projection(config.n_embd, config.n_embd, dtype=dtype, name="c_proj")
        self.resid_dropout = dropout(config.resid_pdrop, "resid_dropout", dtype)

    def build(self, input_shape: Any = None) -> None:
        self.c_attn.build()
        self.c_proj.build()

    def call(
        self,
        hidden_states: tf.Tensor,
        allowed: tf.Tensor | None,
        head_mask: tf.Tensor | None = None,
        eager: bool = False,
        slots: Slots | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor | None, tuple[tf.Tensor, tf.Tensor] | None]:
        query, key, value = (self.split_heads(x) for x in tf.split(self.c_attn(hidden_states), 3, axis=-1))
        if slots is not None:
            past_keys, past_values, length = slots
            slots = write(past_keys, key, length), write(past_values, value, length)
            # The cache is stored heads first, so that no product has to move all of it; here the axes are swapped back.
            key, value = (keras.ops.swapaxes(x, 1, 2) for x in slots)  # (B, S, H, D)
        probabilities = None
        if eager:
            context, probabilities = eager_attention(query, key, value, allowed, self.attn_dropout)
        else:
            context = sdpa_attention(query, key, value, allowed)
        if head_mask is not None:
            scale = tf.cast(head_mask, context.dtype)[:, None]
            context = context * scale
            probabilities = None if probabilities is None else probabilities * scale[..., None]
        return self.resid_dropout(self.c_proj(self.merge_heads(context))), probabilities, slots

    def split_heads(self, x: tf.Tensor) -> tf.Tensor:
        batch, length, _ = keras.ops.shape(x)
        return tf.reshape(x, (batch, length, self.n_head, self.n_embd // self.n_head))  # (B, T, H, D)

    def merge_heads(self, x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, (*keras.ops.shape(x)[:2], self.n_embd))  # (B, T, C)


class MLP(keras.layers.Layer):
    """The position-wise feed-forward network."""

    def __init__(self, config: OpenAIGPTConfig, **keras_options: Any) -> None:
        super().__init__(**keras_options)
        dtype = self.dtype_policy
        self.activation = ACTIVATIONS[config.afn]
        self.c_fc = Projection(config.n_embd, feed_forward_width(config), dtype=dtype, name="c_fc")
        self.c_proj = Projection(feed_forward_width(config), config.n_embd, dtype=dtype, name="c_proj")
        self.dropout = dropout(config.resid_pdrop, "dropout", dtype)

    def build(self, input_shape: Any = None) -> None:
        self.c_fc.build()
        self.c_proj.build()

    def call(self, hidden_states: tf.Tensor) -> tf.Tensor:
        activated = self.activation(wide(self.c_fc(hidden_states)))
        return self.dropout(self.c_proj(tf.cast(activated, self.compute_dtype)))


# Post-LayerNorm, as in GPT-1 (GPT-2 normalises before each sub-layer; we do not):
#   x ---+-- attn --(+)-- ln_1 ---+-- mlp --(+)-- ln_2 --> out
#        +-----------^            +----------^
class Block(keras.layers.Layer):
    """One layer of the trunk."""

    def __init__(self, config: OpenAIGPTConfig, **keras_options: Any) -> None:
        super().__init__(**keras_options)
        dtype = self.dtype_policy
        self.n_embd = config.n_embd
        self.attn = Attention(config, dtype=dtype, name="attn")
        self.ln_1 = layer_norm(config, "ln_1", dtype)
        self.mlp = MLP(config, dtype=dtype, name="mlp")
        self.ln_2 = layer_norm(config, "ln_2", dtype)

    def build(self, input_shape: Any = None) -> None:
        self.attn.build()
        self.ln_1.build((None, None, self.n_embd))
        self.mlp.build()
        self.ln_2.build((None, None, self.n_embd))

    def call(
        self,
        hidden_states: tf.Tensor,
        allowed: tf.Tensor | None,
        head_mask: tf.Tensor | None = None,
        eager: bool = False,
        slots: Slots | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor | None, tuple[tf.Tensor, tf.Tensor] | None]:
        attended, probabilities, slots = self.attn(hidden_states, allowed, head_mask, eager=eager, slots=slots)
        hidden_states = self.ln_1(hidden_states + attended)
        return self.ln_2(hidden_states + self.mlp(hidden_states)), probabilities, slots


@keras.saving.register_keras_serializable(package="gptcore")
class TFOpenAIGPTModel(TFOpenAIGPTPreTrainedModel):
    """The trunk: embeddings and blocks, no final LayerNorm.

    Args:
        config: The config, which is not changed.
        dtype: Dtype of all weights: ``float32``, ``float64``, ``bfloat16`` or ``float16``; or a Keras policy such as
            ``mixed_bfloat16`` (float32 weights, computation in bfloat16). Default: Keras' global policy, which is
            float32 unless you change it.
        attn_implementation: ``"sdpa"`` (the default: the framework's fused attention) or ``"eager"`` (written out);
            both give the same numbers up to rounding.
        seed: Random seed of the initial weights, the same in every framework; default 0. The framework's own seed has
            no effect. ``None`` leaves the weights unset, for a caller that sets them.
        name, trainable: Arguments of ``keras.Model``.

    >>> model = TFOpenAIGPTModel(OpenAIGPTConfig(vocab_size=11, n_positions=8, n_embd=6, n_layer=1, n_head=2))
    >>> model(tf.constant([[1, 2, 3]])).last_hidden_state.shape
    TensorShape([1, 3, 6])
    """

    head = Head.NONE

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
        self.attn_implementation = attn_implementation
        dtype = self.dtype_policy
        width = config.n_embd
        self.tokens_embed = Embedding(config.vocab_size, width, dtype=dtype, name="tokens_embed")
        self.positions_embed = Embedding(config.n_positions, width, dtype=dtype, name="positions_embed")
        self.drop = dropout(config.embd_pdrop, "drop", dtype)
        self.h = [Block(config, dtype=dtype, name=f"h_{layer}") for layer in range(config.n_layer)]
        for block in self.h:
            self._track_trackable(block, block.name)  # tf.train.Checkpoint sees no lists of Keras layers
        self.materialize(seed)

    def build(self, input_shape: Any = None) -> None:
        """Make all variables."""
        build_once(self.tokens_embed, self.positions_embed, *self.h)

    def call(
        self,
        input_ids: TensorLike | Mapping[str, TensorLike] | None = None,
        attention_mask: TensorLike | None = None,
        token_type_ids: TensorLike | None = None,
        position_ids: TensorLike | None = None,
        head_mask: TensorLike | None = None,
        inputs_embeds: TensorLike | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        past_key_values: KVCache | None = None,
        use_cache: bool | None = None,
        training: bool | None = None,
    ) -> TFBaseModelOutput | Any:
        """Run the trunk. Arrays and lists become tensors; ids, masks and labels may have any integer dtype.

        In shapes, T is the number of tokens of a row, C is ``n_embd``, H is ``n_head`` and L is ``n_layer``.

        Args:
            input_ids: (..., T) integer token ids in [0, vocab_size); extra leading dimensions are kept. Pass either
                this or ``inputs_embeds``. A dict in this place holds all the inputs.
            attention_mask: (..., T), 1 for tokens to attend to and 0 for padding, on either side. With a cache
                of ``length`` filled slots, (..., length + T) is also accepted; only its last T columns are used.
            token_type_ids: (..., T) integers in [0, vocab_size); their rows of the *token* embedding are added.
            position_ids: (..., T), (1, T) or (T,) integers in [0, n_positions). Default: counted from
                ``attention_mask``, so that padding takes no position; without a mask, from 0, or from the length of the
                cache.
            head_mask: (H,) or (L, H) floats, by which the attention probabilities of each head are multiplied.
            inputs_embeds: (..., T, C) floats, used instead of ``input_ids``.
            output_attentions: Whether to return the attention probabilities. Attention is then computed as ``"eager"``,
                whatever ``attn_implementation`` is.
            output_hidden_states: Whether to return the embeddings and the output of every block.
            return_dict: Whether to return an output object; ``False`` returns a tuple of the fields that are set.
            past_key_values: The ``KVCache`` of the earlier tokens; positions and attention continue from there.
            use_cache: Whether to create a cache of ``n_positions`` slots, and return it, if none is passed. Default:
                false. A passed cache is always extended and returned.
            training: Whether dropout is on. With attention dropout, attention is always computed as ``"eager"``.

        ``output_attentions``, ``output_hidden_states`` and ``return_dict`` default to the settings of the config.

        Returns:
            TFBaseModelOutput.

        Raises:
            InputError: An argument is invalid. Arguments are checked before work starts; while tracing, only shapes
                and dtypes are.
        """
        input_ids, attention_mask, token_type_ids, position_ids, head_mask, inputs_embeds = self._check(
            input_ids=input_ids,
            attention_mask=attention_mask,
            token_type_ids=token_type_ids,
            position_ids=position_ids,
            head_mask=head_mask,
            inputs_embeds=inputs_embeds,
            cache=past_key_values,
        )
        output_attentions = self._choose(output_attentions, "output_attentions")
        output_hidden_states = self._choose(output_hidden_states, "output_hidden_states")
        ids_shape = keras.ops.shape(inputs_embeds)[:-1] if input_ids is None else keras.ops.shape(input_ids)
        *leading, length = ids_shape
        attention_mask = to_rows(attention_mask)
        keys = queries = tf.range(length)  # (S,), (T,)
        cache = past_key_values
        if cache is None and use_cache:
            cache = KVCache.empty(self.config, math.prod(leading), dtype=self.compute_dtype)
        if cache is not None:
            keys, queries = tf.range(cache.capacity), cache.length + queries
            cache = cache.extended(attention_mask, length)
            attention_mask = cache.attended
        position_ids = default_positions(attention_mask, queries) if position_ids is None else to_rows(position_ids)
        embedded = self.embed(to_rows(input_ids), to_rows(token_type_ids), position_ids, inputs_embeds)
        hidden_states = self.drop(embedded)  # (B, T, C)

        dropped = training and self.config.attn_pdrop > 0
        eager = output_attentions or dropped or self.attn_implementation == "eager"
        allowed = None
        if eager or attention_mask is not None or cache is not None:
            allowed = attention_allowed(attention_mask, queries, keys)
        head_masks = [None] * len(self.h)
        if head_mask is not None:
            head_masks = tf.unstack(tf.broadcast_to(head_mask, (self.config.n_layer, self.config.n_head)))
        all_hidden_states, all_attentions, all_slots = [hidden_states], [], []
        for layer, (block, layer_head_mask) in enumerate(zip(self.h, head_masks, strict=True)):
            slots = None if cache is None else (cache.keys[layer], cache.values[layer], cache.length)
            arguments = (hidden_states, allowed, layer_head_mask)
            if self.gradient_checkpointing and training and cache is None:
                hidden_states, probabilities = recomputed(block, *arguments, eager=eager)
            else:
                hidden_states, probabilities, slots = block(*arguments, eager=eager, slots=slots)
            all_hidden_states.append(hidden_states)
            all_attentions.append(probabilities)
            all_slots.append(slots)
        if cache is not None:
            all_keys, all_values = zip(*all_slots, strict=True)
            cache = cache._replace(keys=all_keys, values=all_values)

        output = TFBaseModelOutput(
            last_hidden_state=from_rows(hidden_states, leading),  # (..., T, C)
            past_key_values=cache,
            hidden_states=tuple(from_rows(x, leading) for x in all_hidden_states) if output_hidden_states else None,
            attentions=tuple(all_attentions) if output_attentions else None,
        )
        return output if self._choose(return_dict, "return_dict") else output.to_tuple()

    def embed(
        self,
        input_ids: tf.Tensor | None,
        token_type_ids: tf.Tensor | None,
        position_ids: tf.Tensor,
        inputs_embeds: tf.Tensor | None,
    ) -> tf.Tensor:
        """Sum of the embeddings of tokens, positions and token types, (B, T, C)."""
        if inputs_embeds is None:
            inputs_embeds = self.tokens_embed(input_ids)
        length = keras.ops.shape(inputs_embeds)[-2]
        inputs_embeds = tf.reshape(inputs_embeds, (-1, length, self.config.n_embd))
        inputs_embeds = tf.cast(inputs_embeds, self.compute_dtype)
        embedded = inputs_embeds + self.positions_embed(position_ids)
        return embedded if token_type_ids is None else embedded + self.tokens_embed(token_type_ids)


def recomputed(
    block: Block, hidden_states: tf.Tensor, allowed: tf.Tensor | None, head_mask: tf.Tensor | None, eager: bool
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The block's hidden states and probabilities, computed again in the backward pass, with the same dropout.

    ``tf.recompute_grad`` alone would draw the dropout anew: ``run`` reads and writes copies of the random states.
    """
    states = random_states(block)
    drawn = [tf.identity(state) for state in states]
    advanced = []

    def run(hidden_states: tf.Tensor, *head_mask: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with keras.StatelessScope(zip(states, drawn, strict=True)) as scope:
            output, probabilities, _ = block(hidden_states, allowed, *head_mask, eager=eager, training=True)
        advanced.append([scope.get_current_value(state) for state in states])
        return (output, probabilities) if eager else (output,)

    output, *probabilities = tf.recompute_grad(run)(hidden_states, *(() if head_mask is None else (head_mask,)))
    for state, value in zip(states, advanced[0], strict=True):
        state.assign(value)
    return output, probabilities[0] if eager else None


def random_states(layer: keras.Layer) -> list[keras.Variable]:
    """The variables from which dropout draws."""
    return [variable for variable in layer.variables if "seed_generator" in variable.path]


def default_positions(attention_mask: tf.Tensor | None, queries: tf.Tensor) -> tf.Tensor:
    """Count tokens: padding takes no position. (B, S) or ``None``, (T,) -> (B, T) or (T,)."""
    if attention_mask is None:
        return queries
    return tf.gather(tf.maximum(tf.cumsum(tf.cast(attention_mask, tf.int32), -1) - 1, 0), queries, axis=1)


def to_rows(ids: Rows) -> Rows:
    """Merge extra leading dimensions: (..., T) -> (B, T)."""
    return ids if ids is None else tf.reshape(ids, (-1, keras.ops.shape(ids)[-1]))


def from_rows(x: tf.Tensor, leading: Sequence[int | tf.Tensor]) -> tf.Tensor:
    """Bring the leading dimensions back: (B, T, C) -> (..., T, C)."""
    return tf.reshape(x, (*leading, *keras.ops.shape(x)[1:]))


def take_position(hidden_states: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """The hidden state at one position of each sequence. (..., T, C), (...) -> (..., C)."""
    return tf.gather(hidden_states, index, axis=-2, batch_dims=len(index.shape))
