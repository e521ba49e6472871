"""Provides the names of emotions, the labels of corpora, label sets, and the maps between them."""

from multimodal_ser.labels.corpora import CORPUS_LABELS, CorpusLabels, LabelFate, admissible_classes, corpus_label_table
from multimodal_ser.labels.names import CODES, DIMENSIONS, EMOTIONS, SYNONYMS, LabelError, canonical_emotion, is_emotion
from multimodal_ser.labels.sets import (
    EKMAN,
    LABEL_SETS,
    QUADRANTS,
    LabelSet,
    in_label_set,
    label_map,
    merge_probabilities,
    quadrant,
)

__all__ = [
    "CODES", "CORPUS_LABELS", "DIMENSIONS", "EKMAN", "EMOTIONS", "LABEL_SETS", "QUADRANTS", "SYNONYMS", "CorpusLabels", "LabelError",
    "LabelFate", "LabelSet", "admissible_classes", "canonical_emotion", "corpus_label_table", "in_label_set", "is_emotion", "label_map",
    "merge_probabilities", "quadrant",
]  # fmt: skip
