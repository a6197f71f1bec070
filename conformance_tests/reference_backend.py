"""A backend of somebody else: the float64 reference in NumPy, which claims no more than to run a model forward."""

import numpy as np

from gptcore.checkpoint import convert, open_pretrained
from gptcore.spec import Reference


class ReferenceBackend:
    """NumPy, as ``gptcore.backends.Backend``."""

    name = "reference"
    capabilities = ()

    def versions(self):
        """Names and versions of the libraries that do the arithmetic."""
        return {"numpy": np.__version__}

    def load(self, path, head, *, dtype="float32", **options):
        """The model of a checkpoint."""
        return ReferenceModel(open_pretrained(path, head, dtype, **options), head)


class ReferenceModel:
    """One model, as ``gptcore.backends.BackendModel``.

    Args:
        source: its config, and its weights in the dtype of the call.
        head: which model.
    """

    def __init__(self, source, head):
        weights = {name: convert(array, source.dtype, "float64") for name, array in source.values()}
        self.config = source.config
        self.reference = Reference(source.config, weights, head)

    def forward(self, inputs, *, output_attentions=False, output_hidden_states=False):
        """The fields of the output, as arrays."""
        return self.reference.forward(
            inputs, output_attentions=output_attentions, output_hidden_states=output_hidden_states
        )


BACKEND = ReferenceBackend()
