import pytest
from hypothesis import given
from hypothesis import strategies as st

from multimodal_ser.labels import (
    CORPUS_LABELS,
    EMOTIONS,
    LABEL_SETS,
    QUADRANTS,
    SYNONYMS,
    LabelError,
    admissible_classes,
    canonical_emotion,
    corpus_label_table,
    in_label_set,
    label_map,
    merge_probabilities,
    quadrant,
)  # fmt: skip


def test_tables_agree_with_each_other():
    assert set(SYNONYMS.values()) <= set(EMOTIONS)
    assert not set(SYNONYMS) & set(EMOTIONS)
    for label_set in LABEL_SETS.values():
        assert set(label_set.mapping) <= set(EMOTIONS)
        assert set(label_set.mapping.values()) == set(label_set.labels)
        assert set(label_set.mapping) | set(label_set.dropped) == set(EMOTIONS)  # none is forgotten,
        assert not set(label_set.mapping) & set(label_set.dropped)  # none is both
        assert all(label_set.dropped.values())
    for corpus in CORPUS_LABELS.values():
        assert set(corpus.labels) <= set(EMOTIONS)
        assert set(corpus.merged.values()) <= set(corpus.labels)
        assert not set(corpus.merged) & set(corpus.labels)
        assert set(corpus.codes.values()) == set(corpus.labels)
        assert not set(corpus.codes) & set(corpus.dropped) and all(corpus.dropped.values())
        assert corpus.scale is None or corpus.scale[0] < corpus.scale[1]


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


@pytest.mark.parametrize("corpus", CORPUS_LABELS)
@pytest.mark.parametrize("label_set", ["native", *LABEL_SETS])
def test_the_table_of_a_corpus_follows_each_of_its_labels(corpus, label_set):
    fates = corpus_label_table(corpus, label_set)
    labels = CORPUS_LABELS[corpus]
    assert [fate.code for fate in fates] == [*labels.codes, *labels.dropped]  # none is left out
    kept = [fate.label for fate in fates if fate.label is not None]
    for fate in fates:
        if fate.emotion is None:
            assert fate.label is None and fate.remark == labels.dropped[fate.code]
        elif fate.label is None:  # has no place: says why
            assert (
                fate.remark == LABEL_SETS[label_set].dropped[fate.emotion]
                and fate.emotion not in LABEL_SETS[label_set].mapping
            )
        else:
            assert fate.label == (
                fate.emotion if label_set == "native" else LABEL_SETS[label_set].mapping[fate.emotion]
            )
            assert ("together with" in fate.remark) == (kept.count(fate.label) > 1)
            assert ("does not tell apart" in fate.remark) == (fate.emotion in labels.merged.values())


def test_surprise_goes_where_the_sets_say():
    assert {name: in_label_set("surprised", name) for name in LABEL_SETS} == {
        "ekman": "surprise", "iemocap4": None, "sentiment": None, "quadrants": None, "nine": "surprise",
    }  # fmt: skip
    assert in_label_set("surprised", "native") == "surprise"
    with pytest.raises(LabelError, match="did you mean 'quadrants'"):
        in_label_set("joy", "quadrant")


def test_a_table_of_an_unknown_corpus_names_its_neighbour():
    with pytest.raises(LabelError, match="did you mean 'crema_d'"):
        corpus_label_table("crema-d")
    with pytest.raises(LabelError, match="label_set"):
        corpus_label_table("emodb", "four")


@given(st.floats(1, 7), st.floats(1, 7))
def test_quadrants_of_ratings(arousal, valence):
    found = quadrant(arousal, valence, (1, 7))
    if arousal == 4 or valence == 4:
        assert found is None
    else:
        assert found in QUADRANTS
        assert found.startswith("high") == (arousal > 4) and found.endswith("positive") == (valence > 4)


def test_ratings_off_the_scale_are_refused():
    with pytest.raises(LabelError, match="valence: expected a rating from 1 to 5, got 6"):
        quadrant(3, 6, (1, 5))
    with pytest.raises(LabelError, match="arousal"):
        quadrant(float("nan"), 3, (1, 5))


def test_iemocap_in_four_classes_is_what_the_field_scores():
    fates = {fate.code: fate.label for fate in corpus_label_table("iemocap", "iemocap4")}
    assert {code for code, label in fates.items() if label == "happiness"} == {"hap", "exc"}
    assert {code for code, label in fates.items() if label is None} == {"fea", "sur", "dis", "fru", "oth", "xxx"}
