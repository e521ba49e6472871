"""Words as a recogniser gets them wrong: left out, in another order, or heard as something that sounds alike."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from itertools import pairwise

import numpy as np

SOUNDS_LIKE = (
    ("d", "t"), ("b", "p"), ("g", "k"), ("c", "k"), ("v", "f"), ("z", "s"), ("m", "n"), ("j", "y"), ("w", "v"), ("l", "r"),
    ("th", "f"), ("th", "d"), ("sh", "s"), ("ch", "sh"), ("ck", "k"), ("ph", "f"),
    ("ee", "i"), ("ea", "ee"), ("ou", "o"), ("ei", "ai"), ("ie", "i"), ("a", "e"), ("e", "i"), ("o", "u"),
)  # fmt: skip
"""Spellings that are taken for each other: consonants that differ in voicing or place, and vowels that lie beside each other."""

ALIKE = 0.6
"""`difflib`'s ratio from which on two words look alike."""

_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and ideographs: no spaces between words, each counts as one
_WORD = re.compile(rf"([{_UNSPACED}]|[^\s{_UNSPACED}]+)(\s*)")
_CORE = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)


def misrecognised(text: str, generator: np.random.Generator, *, dropped: float, swapped: float, misheard: float) -> str:
    """A transcript with a recogniser's mistakes in it; never empty unless the text is.

    Args:
        text: words, in any script; of scripts without spaces each character counts as a word.
        generator: what is drawn from.
        dropped: share of the words that are left out, but one with a letter in it always stays.
        swapped: share that change places with the next; punctuation stays where it is.
        misheard: share that become a word of the same text that looks alike, or else are misspelt by one sound (`SOUNDS_LIKE`) or letter.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.training.transcript_augmentation import misrecognised
        >>> misrecognised("Hello, world.", np.random.default_rng(0), dropped=0, swapped=1, misheard=0)
        'World, hello.'
    """
    words, gaps = [], []
    for found in _WORD.finditer(text):
        word, gap = found.groups()
        words.append(list(_CORE.match(word).groups()))  # type: ignore[union-attr]  # it matches anything
        gaps.append(gap)
    places = [place for place, (_, core, _) in enumerate(words) if core]
    if not places:
        return text
    before = [word[1] for word in words]
    _swap(words, places, generator, swapped)
    for place in places:
        if generator.random() < misheard:
            words[place][1] = _heard_as(words[place][1], before, generator)
    leave = generator.random(len(places)) < dropped
    if leave.all():
        leave[generator.integers(len(places))] = False
    out = {place for place, left in zip(places, leave, strict=True) if left}
    if not out and before == [word[1] for word in words]:
        return text
    kept = [place for place in range(len(words)) if place not in out]
    return "".join("".join(words[place]) + gaps[place] for place in kept).strip()


def _swap(words: list[list[str]], places: list[int], generator: np.random.Generator, share: float) -> None:
    free = 0  # the first word that has not moved yet: none moves twice
    for at, (first, second) in enumerate(pairwise(places)):
        if at >= free and generator.random() < share:
            one, other = words[first][1], words[second][1]
            words[first][1], words[second][1] = _cased(other, one), _cased(one, other)
            free = at + 2


def _cased(word: str, like: str) -> str:
    """With the first letter as large as that of the word it stands in for; names in capitals and "I" keep theirs."""
    if like[:1].isupper():
        return word[:1].upper() + word[1:]
    return word if word.isupper() else word[:1].lower() + word[1:]


def _heard_as(word: str, others: list[str], generator: np.random.Generator) -> str:
    alike = sorted(other for other in set(others) if other.lower() != word.lower() and _look_alike(word, other))
    if alike and generator.random() < 0.5:
        return _cased(alike[generator.integers(len(alike))], word)
    return _misspelt(word, generator)


def _look_alike(word: str, other: str) -> bool:
    return SequenceMatcher(None, word.lower(), other.lower(), autojunk=False).ratio() >= ALIKE


def _misspelt(word: str, generator: np.random.Generator) -> str:
    """One sound exchanged; where it has none that is in the table, one letter left out. A word of one letter stays."""
    if len(word) < 2:
        return word
    lower = word.lower()
    changes = []
    for pair in SOUNDS_LIKE:
        for was, becomes in (pair, pair[::-1]):
            changes += [
                (at, was, becomes) for at in range(len(lower)) if len(lower) == len(word) and lower.startswith(was, at)
            ]
    if changes:
        at, was, becomes = changes[generator.integers(len(changes))]
    else:
        at = int(generator.integers(len(word)))
        was, becomes = word[at], ""
    becomes = becomes.upper() if word.isupper() else becomes
    return _cased(word[:at] + becomes + word[at + len(was) :], word)
