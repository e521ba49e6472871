"""`checked`: conversion of an option's value to its type, whether it comes from Python, YAML or the command line."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from multimodal_ser.errors import InputError, did_you_mean


def checked(name: str, kind: Any, value: Any) -> Any:
    """Return the value, converted to its type if that loses nothing.

    The command line gives numbers as strings, and YAML reads `1e-3` as a string.

    Args:
        name: name of the option, for messages.
        kind: its type: int, float, bool, str, one of these or None, a list of them, a dict, or a Literal.
        value: the value to check.

    Raises:
        InputError: the value has another type.

    Example:
        >>> from multimodal_ser.training.kinds import checked
        >>> checked("learning_rate", float, "1e-3"), checked("seeds", list[int], "7"), checked("augmentation", dict, ["speed"])
        (0.001, [7], {'speed': {}})
    """
    origin, options = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return (
            None
            if value is None
            else checked(name, next(option for option in options if option is not type(None)), value)
        )
    if origin is Literal:
        value = "none" if value is None and "none" in options else value
        if value not in options:
            remedy = did_you_mean(str(value), options, key=str.lower)
            raise InputError(name, expected=f"one of {', '.join(options)}", got=repr(value), remedy=remedy)
        return value
    if origin is list:
        if isinstance(value, str | Path) or not isinstance(value, Sequence):
            value = [] if value is None else [value]
        return [checked(name, options[0], item) for item in value]
    if dict in (kind, origin):
        return _mapping(name, value)
    try:
        if isinstance(value, bool) != (kind is bool):
            raise ValueError
        if kind is int and not isinstance(value, int):
            value = float(value)
            if not value.is_integer():
                raise ValueError
        if kind is float and not math.isfinite(float(value)):
            raise ValueError
        if kind is str and not isinstance(value, str | Path | int):
            raise ValueError
        return kind(value)
    except (TypeError, ValueError) as error:
        expected = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}[kind]
        raise InputError(name, expected=expected, got=repr(value), remedy="correct it") from error


def _mapping(name: str, value: Any) -> dict[str, Any]:
    """Return a mapping of plain types; a list of names becomes a mapping from each to no options."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, Sequence):
        value = {str(item): {} for item in value}
    if value is not None and not isinstance(value, Mapping):
        raise InputError(
            name, expected="a mapping or a list of names", got=type(value).__name__, remedy="write NAME or NAME=VALUE"
        )
    try:
        return json.loads(json.dumps(dict(value or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(
            name, expected="numbers, strings and lists of them", got=repr(value), remedy="convert it"
        ) from error
