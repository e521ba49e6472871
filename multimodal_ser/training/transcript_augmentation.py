"""`misrecognized`: errors of speech recognition in a text: omitted, swapped and confused words."""

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
"""Spellings that are exchanged: consonants that differ in voicing or place, and neighboring vowels."""

ALIKE = 0.6
"""Least ratio of `difflib` for two words that look alike."""

_UNSPACED = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and ideographs: no spaces between words, each counts as one
_WORD = re.compile(rf"([{_UNSPACED}]|[^\s{_UNSPACED}]+)(\s*)")
_CORE = re.compile(r"^(\W*)(.*?)(\W*)$", re.DOTALL)


def misrecognized(text: str, generator: np.random.Generator, *, dropped: float, swapped: float, misheard: float) -> str:
    """Return a text with errors of speech recognition; it is never empty unless the text is.

    Args:
        text: words, in any script; in scripts without spaces each character counts as a word.
        generator: source of the random numbers.
        dropped: share of the words that are left out; one word with a letter always stays.
        swapped: share of the words that change places with the next; punctuation keeps its place.
        misheard: share of the words that become a similar word of the same text, or are misspelt by one sound
            (`SOUNDS_LIKE`) or letter.

    Example:
        >>> import numpy as np
        >>> from multimodal_ser.training.transcript_augmentation import misrecognized
        >>> misrecognized("Hello, world.", np.random.default_rng(0), dropped=0, swapped=1, misheard=0)
        'World, hello.'
    """
    words, gaps = [], []
    for match in _WORD.finditer(text):
        word, gap = match.groups()
        words.append(list(_CORE.match(word).groups()))  # type: ignore[union-attr]  # it matches anything
        gaps.append(gap)
    places = [place for place, (_, core, _) in enumerate(words) if core]
    if not places:
        return text
    before = [word[1] for word in words]
    _swap(words, places, generator, swapped)
    for place in places:
        if generator.random() < misheard:
            words[place][1] = _confused(words[place][1], before, generator)
    is_dropped = generator.random(len(places)) < dropped
    if is_dropped.all():
        is_dropped[generator.integers(len(places))] = False
    dropped_places = {place for place, drop in zip(places, is_dropped, strict=True) if drop}
    if not dropped_places and before == [word[1] for word in words]:
        return text
    remaining = [place for place in range(len(words)) if place not in dropped_places]
    return "".join("".join(words[place]) + gaps[place] for place in remaining).strip()


def _swap(words: list[list[str]], places: list[int], generator: np.random.Generator, share: float) -> None:
    free = 0  # the first word that has not moved yet: none moves twice
    for at, (first, second) in enumerate(pairwise(places)):
        if at >= free and generator.random() < share:
            one, other = words[first][1], words[second][1]
            words[first][1], words[second][1] = _cased(other, one), _cased(one, other)
            free = at + 2


def _cased(word: str, like: str) -> str:
    """Return `word` with the case of the first letter of `like`; words in capitals and "I" keep theirs."""
    if like[:1].isupper():
        return word[:1].upper() + word[1:]
    return word if word.isupper() else word[:1].lower() + word[1:]


def _confused(word: str, others: list[str], generator: np.random.Generator) -> str:
    alike = sorted(other for other in set(others) if other.lower() != word.lower() and _look_alike(word, other))
    if alike and generator.random() < 0.5:
        return _cased(alike[generator.integers(len(alike))], word)
    return _misspelt(word, generator)


def _look_alike(word: str, other: str) -> bool:
    return SequenceMatcher(None, word.lower(), other.lower(), autojunk=False).ratio() >= ALIKE


def _misspelt(word: str, generator: np.random.Generator) -> str:
    """Exchange one sound of `SOUNDS_LIKE`, or else leave one letter out; a word of one letter stays unchanged."""
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
