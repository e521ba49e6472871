"""What every complaint of the library looks like: what was expected, what was got, and the remedy."""

from __future__ import annotations


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
