"""The metric of transcripts: the word error rate."""

from __future__ import annotations

from collections.abc import Sequence

from multimodal_ser.errors import InputError


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str], *, normalize: bool = False) -> float:
    """Substituted, deleted and inserted words of all pairs, divided by the words of all references: WER, as jiwer counts it.

    Args:
        references: N true texts with spaces between words. In a script without spaces, each clause would count as one
            word.
        hypotheses: N recognised texts.
        normalize: compare without case, punctuation and text in brackets, by Whisper's normaliser for all languages
            (https://arxiv.org/abs/2212.04356, appendix C), as is usual for a recogniser that writes both.

    Returns:
        A rate from 0; insertions can make it larger than 1. If the references have no words, it is the number of
        inserted words.

    Raises:
        InputError: there are no texts, the lengths differ, an element is no text, or jiwer is not installed.

    Example:
        >>> from multimodal_ser.metrics import word_error_rate
        >>> word_error_rate(["kids are talking", "by the door"], ["kids were talking", "by door"]) == 2 / 6
        True
    """
    if isinstance(references, str) or isinstance(hypotheses, str):
        raise InputError("references", expected="lists of texts", got="one text", remedy="put it into a list")
    true, recognized = list(references), list(hypotheses)
    if not true or len(true) != len(recognized):
        got = f"{len(true)} references and {len(recognized)} hypotheses"
        raise InputError("hypotheses", expected="one for each of at least one reference", got=got, remedy="align them")
    for name, texts in (("references", true), ("hypotheses", recognized)):
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
        true, recognized = [plain(text) for text in true], [plain(text) for text in recognized]
    return float(jiwer.wer(true, recognized))
