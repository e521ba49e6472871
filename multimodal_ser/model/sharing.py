"""Functions to share a model between threads, copies and processes: views in evaluation mode, and a picklable state."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from types import MethodType
from typing import Any

from torch import nn
from torch.nn.utils import parametrize
from transformers import PreTrainedModel
from transformers.utils import output_capturing


def evaluation_view(model: nn.Module) -> Any:
    """The model in evaluation mode, without setting anything on it, so that other threads may train it meanwhile.

    Args:
        model: in any mode.

    Returns:
        The model itself where all of it is in evaluation mode; else new modules in that mode that share its parameters,
        buffers and hooks.

    Example:
        >>> from torch import nn
        >>> from multimodal_ser.model.sharing import evaluation_view
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
        >>> view = evaluation_view(model)
        >>> view[1].training, model[1].training, view[0].weight is model[0].weight
        (False, True, True)
    """
    if not any(module.training for module in model.modules()):
        return model
    return _view(model, {})


def _view(module: nn.Module, made: dict[int, nn.Module]) -> nn.Module:
    if id(module) in made:
        return made[id(module)]
    view = made[id(module)] = module.__class__.__new__(module.__class__)
    state = dict(module.__dict__)
    for name, value in module.__dict__.items():
        if isinstance(value, MethodType) and value.__self__ is module:
            state[name] = MethodType(value.__func__, view)
        elif isinstance(value, partial) and value.args and value.args[0] is module:  # hooks of accelerate
            state[name] = partial(value.func, view, *value.args[1:], **value.keywords)
        elif name == "forward":  # wrapped by somebody, around the module that trains
            del state[name]
    state |= _without_capturing_hooks(module)
    state["_modules"] = {name: child and _view(child, made) for name, child in module._modules.items()}
    state["training"] = False
    if state.get("_compiled_call_impl") is not None:  # compiled for the module that trains
        state["_compiled_call_impl"] = None
    view.__dict__.update(state)
    return view


def picklable_state(model: nn.Module) -> dict[str, Any]:
    """The attributes of a model, for `__getstate__`: weight norm's classes, which torch makes at run time, are taken off.

    torch refuses to pickle modules with a parametrization (wav2vec2's positional convolution has one) because those classes
    have no name that could be looked up. `restore` puts them on again.
    """
    made: dict[int, nn.Module] = {}
    view = _copied(model, made)
    return view.__dict__


def _copied(module: nn.Module, made: dict[int, nn.Module]) -> nn.Module:
    if id(module) in made:
        return made[id(module)]
    plain: Any = module.__class__
    state = module.__dict__ | _without_capturing_hooks(module)
    if _has_injected_class(module):
        plain = plain.__mro__[1]
        # torch's local function that renames the weights of files older than these classes; transformers renames them itself
        state["_load_state_dict_pre_hooks"] = OrderedDict()
    copied: nn.Module = plain.__new__(plain)
    made[id(module)] = copied
    copied.__dict__.update(state)
    copied.__dict__["_modules"] = {name: child and _copied(child, made) for name, child in module._modules.items()}
    return copied


def _without_capturing_hooks(module: nn.Module) -> dict[str, Any]:
    """Attributes without the hooks by which transformers collects hidden states: local functions, which pickle cannot write.

    transformers puts them on again at the first call.
    """
    hooks = [
        (key, hook) for key, hook in list(module._forward_hooks.items()) if hook.__module__ != output_capturing.__name__
    ]
    return {"_forward_hooks": OrderedDict(hooks), "_output_capturing_hooks_installed": False}


def restore(model: nn.Module) -> None:
    """Put the classes on again that `picklable_state` took off, and tell transformers of the models, as their constructors do.

    A process that only unpickles has called no constructor, and transformers would not know which outputs it can collect.
    """
    for module in model.modules():
        if isinstance(module, PreTrainedModel):
            collected = {str(type(module)): module._can_record_outputs}
            dict.update(output_capturing._CAN_RECORD_REGISTRY, collected)
        if parametrize.is_parametrized(module) and not _has_injected_class(module):
            parametrize._inject_new_class(module)
            for name in module._modules["parametrizations"]:  # type: ignore[union-attr]
                parametrize._inject_property(module, name)


def _has_injected_class(module: nn.Module) -> bool:
    """Whether the class is one that torch made at run time, for the properties that calculate the weights."""
    return parametrize.is_parametrized(module) and type(module).__name__.startswith("Parametrized")
