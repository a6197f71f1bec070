"""Record the ReLU inputs of a case, and move them away from the kink at zero.

Rounding decides on which side of zero a small input falls. If it changes sides, a whole term of the gradient appears
or disappears: see ``gptcore.spec.tolerances``.
"""

import numpy as np

from gptcore.spec.parameters import Head
from gptcore.spec.reference import Reference


def relu_inputs(reference, inputs):
    """Map the name of the last bias before each ReLU to its input: float64, (..., units), in order of computation."""
    config, weights = reference.config, {name: weight.value for name, weight in reference.weights.items()}
    before = {}

    class Recorder(Reference):
        def _project(self, name, x):
            projected = super()._project(name, x)
            if config.afn == "relu" and name.endswith("mlp.c_fc"):
                before[f"{name}.bias"] = projected.value
            return projected

    fields = Recorder(config.replace(summary_activation=None), weights, reference.head).forward(inputs)
    if reference.head is Head.DOUBLE_HEADS and config.summary_activation == "relu":
        last = f"h.{config.n_layer - 1}.ln_2.bias"
        before["multiple_choice_head.summary.bias" if config.summary_use_proj else last] = fields["mc_logits"]
    return before


def smallest_relu_input(reference, inputs):
    """Return the smallest distance of any ReLU input from zero; infinity if there is no ReLU."""
    return min((np.abs(x).min() for x in relu_inputs(reference, inputs).values()), default=np.inf)


def keep_off_kinks(config, head, weights, inputs):
    """Move the biases in front of ReLUs, in place, so that zero is in the middle of each unit's widest gap.

    Only gaps between the quartiles count, so every unit stays on for some positions and off for others.
    """
    for name in relu_inputs(Reference(config, weights, head), inputs):
        # Recompute for each layer: moving a bias changes the inputs of the layers after it.
        x = relu_inputs(Reference(config, weights, head), inputs)[name]
        x = np.sort(x.reshape(-1, x.shape[-1]), axis=0)
        x = x[len(x) // 4 : len(x) - len(x) // 4]
        gap, unit = np.diff(x, axis=0).argmax(axis=0), np.arange(x.shape[1])
        weights[name] -= ((x[gap, unit] + x[gap + 1, unit]) / 2).astype(np.float32)
