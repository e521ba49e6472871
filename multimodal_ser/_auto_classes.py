"""transformers' Auto classes and pipelines know the models of this package, without a heavy import before they are needed."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

REGISTERED_BEHIND = {
    "transformers.models.auto.configuration_auto": "multimodal_ser.model.configuration_multimodal_ser",
    "transformers.models.auto.processing_auto": "multimodal_ser.model.processing_multimodal_ser",
    "transformers.pipelines": "multimodal_ser.model.modeling_multimodal_ser",
}
"""Modules of transformers, and those of ours that register with them. The first configuration that is made brings the models."""


def register_auto_classes() -> None:
    """Register configuration, models, processor and pipeline with transformers.

    It happens by itself as soon as the Auto classes or pipelines of transformers are loaded, before or after this package;
    call it where that is switched off.

    Example:
        >>> import multimodal_ser
        >>> multimodal_ser.register_auto_classes()
        >>> from transformers import AutoConfig
        >>> AutoConfig.for_model("multimodal_ser").model_type
        'multimodal_ser'
    """
    importlib.import_module(REGISTERED_BEHIND["transformers.pipelines"])


class AutoClassesFinder(MetaPathFinder):
    """Registers our classes right after transformers' module was executed; finds no module itself.

    Example:
        >>> from multimodal_ser._auto_classes import AutoClassesFinder
        >>> AutoClassesFinder().find_spec("json") is None
        True
    """

    def __init__(self) -> None:
        self.names = set(REGISTERED_BEHIND)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The specification of a module of transformers, behind whose code our registration runs; None for other names."""
        if name not in self.names:
            return None
        self.names.remove(name)  # the other finders look for it now
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            importlib.import_module(REGISTERED_BEHIND[name])

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec

    def install(self) -> None:
        """Begin to watch; what is loaded already is served at once."""
        sys.meta_path.insert(0, self)
        for name, module in REGISTERED_BEHIND.items():
            if name in sys.modules:
                self.names.discard(name)
                importlib.import_module(module)
