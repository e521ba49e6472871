"""Transcripts: how many words were recognised wrongly."""

from __future__ import annotations

from collections.abc import Sequence

from multimodal_ser.errors import InputError


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str], *, normalize: bool = False) -> float:
    """Substituted, deleted and inserted words of all pairs, divided by the words of all references: WER, as jiwer counts it.

    Args:
        references: what was said, N texts, words apart by spaces. Of a script without spaces each clause would count as one word.
        hypotheses: what was recognised, N texts.
        normalize: compare without case, punctuation and what stands in brackets, by Whisper's normaliser for all languages
            (https://arxiv.org/abs/2212.04356, appendix C), as is usual for a recogniser that writes both.

    Returns:
        0 and more; it passes 1 where more was put in than was said. Where no reference holds a word: the number of inserted words.

    Raises:
        InputError: none, not as many of one as of the other, something that is no text; jiwer is not installed.

    Example:
        >>> from multimodal_ser.metrics import word_error_rate
        >>> word_error_rate(["kids are talking", "by the door"], ["kids were talking", "by door"]) == 2 / 6
        True
    """
    if isinstance(references, str) or isinstance(hypotheses, str):
        raise InputError("references", expected="lists of texts", got="one text", remedy="put it into a list")
    true, heard = list(references), list(hypotheses)
    if not true or len(true) != len(heard):
        got = f"{len(true)} references and {len(heard)} hypotheses"
        raise InputError("hypotheses", expected="one for each of at least one reference", got=got, remedy="align them")
    for name, texts in (("references", true), ("hypotheses", heard)):
        for at, text in enumerate(texts):
            if not isinstance(text, str):
                remedy = "leave out clips without a transcript; silence is an empty text"
                raise InputError(name, expected="texts", got=f"{type(text).__name__} at {at}", remedy=remedy)
    try:
        import jiwer
    except ModuleNotFoundError as error:
        remedy = "pip install jiwer (the extra `evaluate` has it)"
        raise InputError("word_error_rate", expected="the package jiwer", got="none", remedy=remedy) from error
    if normalize:
        from whisper.normalizers import BasicTextNormalizer

        plain = BasicTextNormalizer()
        true, heard = [plain(text) for text in true], [plain(text) for text in heard]
    return float(jiwer.wer(true, heard))
