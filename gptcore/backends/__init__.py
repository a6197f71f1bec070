"""Frameworks, as entry points name them: what a backend must do, what it may do, and how to import one.

A backend takes and gives NumPy arrays. It is a package that anybody can publish: each of three entry-point groups names
one object of it, and only the user of that object imports it.

============================ ===================== =========================================== ======================
entry-point group            protocol              imports                                     used by
============================ ===================== =========================================== ======================
``gptcore.tensors``          ``ToTensor``          the framework                               tokenizers
``gptcore.backends``         ``Backend``           the models                                  verify, generate, ...
``gptcore.trainers``         ``LoadTrainer``       the models, and what their training needs   train, eval
============================ ===================== =========================================== ======================
"""

from gptcore.backends.discovery import OWN, available, installed, load
from gptcore.backends.inference import (
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
