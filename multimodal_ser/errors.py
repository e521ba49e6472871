"""What every complaint of the library looks like: what was expected, what was got, and the remedy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any


class InputError(ValueError):
    """Bad input, told in one line: `WHAT: expected ..., got ...; REMEDY`.

    Args:
        what: the thing that is wrong: a file's name, an argument's name.
        expected: what would have been right.
        got: what was found instead.
        remedy: what the reader can do about it.

    Example:
        >>> from multimodal_ser.errors import InputError
        >>> print(InputError("call.wav", expected="audio", got="an empty file", remedy="record it again"))
        call.wav: expected audio, got an empty file; record it again
    """

    def __init__(self, what: str, *, expected: str, got: str, remedy: str):
        super().__init__(f"{what}: expected {expected}, got {got}; {remedy}")
        self.what, self.expected, self.got, self.remedy = what, expected, got, remedy

    def named(self, what: str) -> InputError:
        """The same error of the same type, about a thing of another name."""
        return _rebuild(type(self), what, self.expected, self.got, self.remedy)

    def __str__(self) -> str:  # an OSError among the parents of a subclass must not change the text
        return str(self.args[0])

    def __reduce__(
        self,
    ):  # keyword-only arguments: exceptions are otherwise rebuilt from `args` alone (worker processes)
        return (_rebuild, (type(self), self.what, self.expected, self.got, self.remedy))


def _rebuild(cls: type[InputError], what: str, expected: str, got: str, remedy: str) -> InputError:
    return cls(what, expected=expected, got=got, remedy=remedy)


def closest(
    name: Any, candidates: Iterable[str], *, key: Callable[[Any], str] = str, similarity: float = 0.6
) -> str | None:
    """The candidate that a misspelt name looks most like; None where none does.

    Args:
        name: as it was written.
        candidates: names that there are.
        key: what is compared of each, such as the name without capitals.
        similarity: that is enough (0 to 1, `difflib`'s ratio).

    Example:
        >>> from multimodal_ser.errors import closest
        >>> closest("--lerning-rate", ["--label-set", "--learning-rate"]), closest("--help", ["--label-set"])
        ('--learning-rate', None)
    """
    spelt = {key(candidate): candidate for candidate in candidates}
    close = get_close_matches(key(name), spelt, n=1, cutoff=similarity)
    return spelt[close[0]] if close else None


def did_you_mean(
    name: Any, candidates: Iterable[str], otherwise: str = "choose one of them", *, key: Callable[[Any], str] = str
) -> str:
    """The remedy of an error about an unknown name: the candidate that `closest` finds, `otherwise` where there is none.

    Example:
        >>> from multimodal_ser.errors import did_you_mean
        >>> did_you_mean("angr", ["anger", "joy"]), did_you_mean("7", ["anger", "joy"])
        ("did you mean 'anger'?", 'choose one of them')
    """
    close = closest(name, candidates, key=key)
    return otherwise if close is None else f"did you mean {close!r}?"
