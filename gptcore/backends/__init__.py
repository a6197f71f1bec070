"""Backends: the protocols that a framework's package implements, and how to import it.

A backend takes and returns NumPy arrays. Anybody can publish one as a package. It registers an object in the
entry-point group ``gptcore.backends`` and, for tokenizers and training, in the other two groups; each is imported only
when it is needed.

============================ ===================== =========================================== ======================
entry-point group            protocol              imports                                     used by
============================ ===================== =========================================== ======================
``gptcore.tensors``          ``ToTensor``          the framework                               tokenizers
``gptcore.backends``         ``Backend``           the models                                  verify, generate, ...
``gptcore.trainers``         ``LoadTrainer``       the models, and what their training needs   train, eval
============================ ===================== =========================================== ======================
"""

from gptcore.backends.discovery import OWN, available, installed, load
from gptcore.backends.models import (
    CAPABILITIES,
    Arrays,
    Backend,
    BackendModel,
    device_named,
    load_backend,
    not_claimed,
    require,
)
from gptcore.backends.tensors import ToTensor, load_tensors
from gptcore.backends.training import LoadTrainer, Trainer, load_trainers

__all__ = [
    "CAPABILITIES",
    "OWN",
    "Arrays",
    "Backend",
    "BackendModel",
    "LoadTrainer",
    "ToTensor",
    "Trainer",
    "available",
    "device_named",
    "installed",
    "load",
    "load_backend",
    "load_tensors",
    "load_trainers",
    "not_claimed",
    "require",
]
