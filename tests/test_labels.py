import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_ser.labels import (
    CORPUS_LABELS,
    EMOTIONS,
    LABEL_SETS,
    SYNONYMS,
    LabelError,
    admissible_classes,
    canonical_emotion,
    label_map,
    merge_probabilities,
)  # fmt: skip


def test_tables_agree_with_each_other():
    assert set(SYNONYMS.values()) <= set(EMOTIONS)
    assert not set(SYNONYMS) & set(EMOTIONS)
    for label_set in LABEL_SETS.values():
        assert set(label_set.mapping) <= set(EMOTIONS)
        assert set(label_set.mapping.values()) == set(label_set.labels)
    for corpus in CORPUS_LABELS.values():
        assert set(corpus.labels) <= set(EMOTIONS)
        assert set(corpus.merged.values()) <= set(corpus.labels)
        assert not set(corpus.merged) & set(corpus.labels)


@pytest.mark.parametrize(
    ("said", "meant"), [("Angry", "anger"), (" joy ", "happiness"), ("pleasant_surprise", "surprise"), ("calm", "calm")]
)
def test_synonyms(said, meant):
    assert canonical_emotion(said) == meant


def test_unknown_emotion_names_its_neighbour():
    with pytest.raises(LabelError, match="did you mean 'surprise'"):
        canonical_emotion("suprise")
    with pytest.raises(LabelError, match="map it"):
        canonical_emotion("xyzzy")


@given(st.lists(st.floats(0.001, 1), min_size=9, max_size=9))
def test_merging_keeps_the_sum(values):
    total = sum(values)
    merged = merge_probabilities({name: value / total for name, value in zip(EMOTIONS, values, strict=True)}, "ekman")
    assert sum(merged.values()) == pytest.approx(1.0)
    assert list(merged) == list(LABEL_SETS["ekman"].labels)
    assert merged["neutral"] == pytest.approx((values[4] + values[7] + values[8]) / total)


def test_native_is_left_alone_whatever_the_labels():
    assert merge_probabilities({"urgent": 0.4, "calm": 0.6}, "native") == {"urgent": 0.4, "calm": 0.6}


def test_a_label_set_that_does_not_fit_names_what_is_in_the_way():
    with pytest.raises(LabelError, match="urgent, later in the way"):
        label_map(["calm", "urgent", "later"], "ekman")
    with pytest.raises(LabelError, match="surprise in the way"):
        label_map(EMOTIONS, "sentiment")
    with pytest.raises(LabelError, match="disgust, fear, surprise in the way"):
        label_map(["anger", "disgust", "fear", "surprise"], "iemocap4")
    with pytest.raises(LabelError, match="did you mean 'ekman'"):
        label_map(EMOTIONS, "ekmann")
    for nonsense in (None, ["sentiment"], 3):
        with pytest.raises(LabelError, match=r"label_set: expected one of native, ekman, .*, got "):
            label_map(EMOTIONS, nonsense)


def names(row):
    return {name for name, admitted in zip(EMOTIONS, row, strict=True) if admitted}


def test_admissible_classes():
    assert names(admissible_classes("neutral", "emodb")) == {"neutral", "calm"}
    assert names(admissible_classes("neutral", "ravdess")) == {"neutral"}
    assert names(admissible_classes("anger|sadness", "goemotions")) == {"anger", "sadness"}
    assert names(admissible_classes("neutral|joy", "goemotions")) == {"neutral", "calm", "boredom", "happiness"}
    assert names(admissible_classes("neutral", "somebody's own")) == {"neutral"}
    assert admissible_classes("angry", labels=["joy", "anger"]) == (False, True)
    with pytest.raises(LabelError, match="leave the row out"):
        admissible_classes("fear", labels=["joy", "anger"])
