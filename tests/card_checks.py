"""What every model card has to pass, and the reports that cards are tested with."""

import itertools
import json
import re

from huggingface_hub import ModelCard, ModelCardData

from multimodal_ser.hub.model_card import HUB_LICENSES
from multimodal_ser.testing import tiny_model

# https://github.com/huggingface/huggingface.js/blob/main/packages/tasks/src/pipelines.ts
PIPELINE_TAGS = set(
    """
    text-classification token-classification table-question-answering question-answering zero-shot-classification translation
    summarization feature-extraction text-generation fill-mask sentence-similarity text-to-speech text-to-audio automatic-speech-recognition
    audio-to-audio audio-classification audio-text-to-text voice-activity-detection depth-estimation image-classification object-detection
    image-segmentation text-to-image image-to-text image-to-image image-to-video unconditional-image-generation video-classification
    reinforcement-learning robotics tabular-classification tabular-regression tabular-to-text table-to-text multiple-choice text-ranking
    text-retrieval time-series-forecasting text-to-video image-text-to-text visual-question-answering document-question-answering
    zero-shot-image-classification graph-ml mask-generation zero-shot-object-detection text-to-3d image-to-3d image-feature-extraction
    video-text-to-text keypoint-detection visual-document-retrieval any-to-any video-to-video other
    """.split()  # noqa: SIM905
)
# https://www.loc.gov/standards/iso639-2/php/code_list.php
ISO_639_1 = set(
    re.findall(
        "..",
        "aaabaeafakamanarasavayazbabebgbhbibmbnbobrbscacechcocrcscucvcydadedvdzeeeleneoeseteufafffifjfofrfygagdglgngugvhahehihohr"
        "hthuhyhziaidieigiiikioisitiujajvkakgkikjkkklkmknkokrkskukvkwkylalblglilnloltlulvmgmhmimkmlmnmrmsmtmynanbndnengnlnnnonrnv"
        "nyocojomorospapiplpsptqurmrnrorurwsascsdsesgsiskslsmsnsosqsrssstsusvswtatetgthtitktltntotrtstttwtyugukuruzvevivowawoxhyi"
        "yozazhzu",
    )
)
METRICS = {"accuracy", "recall", "f1"}  # https://hf.co/metrics
HUB_NAME = re.compile(r"[\w][\w.-]*(/[\w][\w.-]*)?")
SECTIONS = [
    "Model details", "Uses", "Direct use", "Out-of-scope use and law", "Bias, risks and limitations", "Recommendations",
    "How to get started with the model", "Training details", "Training procedure", "Evaluation", "Calibration", "Environmental impact",
    "Citation", "About this card",
]  # fmt: skip


def faults(metadata):
    """What is wrong with a metadata block (https://github.com/huggingface/hub-docs/blob/main/modelcard.md)."""
    found = []

    def check(good, what):
        if not good:
            found.append(what)

    def texts(name):
        values = metadata.get(name, [])
        values = [values] if isinstance(values, str) else values
        check(
            isinstance(values, list) and all(isinstance(value, str) and value for value in values),
            f"{name}: {values!r}",
        )
        check(name not in metadata or values, f"{name}: empty")
        return values if isinstance(values, list) else []

    known = {"license", "license_name", "license_link", "language", "library_name", "pipeline_tag", "tags", "base_model", "datasets", "metrics", "model-index"}  # fmt: skip
    check(set(metadata) <= known, f"unknown {set(metadata) - known}")
    check(None not in metadata.values(), "a field without a value")
    check(metadata.get("library_name") == "multimodal_ser", "library_name")
    check(metadata.get("pipeline_tag") in PIPELINE_TAGS, f"pipeline_tag {metadata.get('pipeline_tag')!r}")
    check("license" not in metadata or metadata["license"] in HUB_LICENSES, f"license {metadata.get('license')!r}")
    check((metadata.get("license") == "other") == ("license_name" in metadata), "license_name goes with license: other")
    check(
        re.fullmatch(r"[a-z0-9.-]+", metadata.get("license_name", "x")),
        f"license_name {metadata.get('license_name')!r}",
    )
    check("license_link" not in metadata or metadata.get("license") == "other", "license_link goes with license: other")
    check(set(texts("language")) <= ISO_639_1, f"language {metadata.get('language')!r}")
    check(len(set(texts("tags"))) == len(texts("tags")) > 0, "tags")
    check(set(texts("metrics")) <= METRICS, f"metrics {metadata.get('metrics')}")
    for name in ("base_model", "datasets"):
        check(all(HUB_NAME.fullmatch(value) for value in texts(name)), f"{name}: {metadata.get(name)}")
    for model in metadata.get("model-index", []):
        check(
            set(model) == {"name", "results"} and isinstance(model["name"], str) and model["name"],
            "model-index: name, results",
        )
        for result in model["results"]:
            task, dataset = result["task"], result["dataset"]
            check(set(result) == {"task", "dataset", "metrics"}, f"model-index: {set(result)}")
            check(task["type"] in PIPELINE_TAGS and set(task) <= {"type", "name"}, f"task {task}")
            check(
                {"type", "name"} <= set(dataset) <= {"type", "name", "config", "split", "revision", "args"},
                f"dataset {dataset}",
            )
            check(
                all(isinstance(dataset[name], str) and dataset[name] for name in ("type", "name")), f"dataset {dataset}"
            )
            check(isinstance(dataset.get("args", {}), dict), f"dataset args {dataset}")
            check(result["metrics"], "no metrics")
            for metric in result["metrics"]:
                check(
                    {"type", "value"} <= set(metric) <= {"type", "value", "name", "config", "args"}, f"metric {metric}"
                )
                check(metric["type"] in METRICS and metric["type"] in texts("metrics"), f"metric {metric['type']}")
                check(isinstance(metric["value"], float) and 0 <= metric["value"] <= 1, f"value {metric['value']!r}")
                check(isinstance(metric.get("args", {}), dict), f"metric args {metric}")
    return found


def loaded(folder):
    """The card of a folder, after the checks that every card has to pass."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    card = ModelCard.load(folder / "README.md")
    metadata = card.data.to_dict()
    assert faults(metadata) == []
    assert ModelCardData(**metadata).to_dict() == metadata  # round trip
    again = ModelCard(f"---\n{ModelCardData(**metadata).to_yaml()}\n---\n{card.text}")
    assert again.data.to_dict() == metadata and again.text.strip() == card.text.strip()
    assert text.startswith("---\n") and text.endswith("\n") and "\t" not in text
    well_formed(card.text)
    return card


def well_formed(text):
    """Each heading once and followed by something, levels that do not skip, tables whose rows are as wide as their head, closed fences."""
    plain = re.sub(r"```.*?```", "code", text, flags=re.DOTALL)
    assert "```" not in plain
    headings = re.findall(r"^(#+) (.+)$", plain, re.MULTILINE)
    names = [name for _, name in headings]
    assert len(set(names)) == len(names) and [level for level, _ in headings].count("#") == 1 and headings[0][0] == "#"
    assert [name for name in names if name in SECTIONS] == SECTIONS
    for (one, name), (other, _) in itertools.pairwise(headings):
        assert len(other) <= len(one) + 1, name
    for heading, below in re.findall(r"^(#+ .+)\n+(.*)", plain + "\nend", re.MULTILINE):
        assert below and (not below.startswith("#") or len(below.split()[0]) > len(heading.split()[0])), heading
    for block in re.findall(r"(?:^\|.*\n)+", plain + "\n", re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1 and len(block.splitlines()) > 2 and set(block.splitlines()[1]) <= set("| -"), block
        for line in block.splitlines():
            assert all(cell.strip() for cell in line.strip("|").split(" | ")) or "group |  |" in line, line
    for word in ("None", "nan", "{}", "[]", "More Information Needed", "TODO"):
        assert word not in plain, word


def section(card, title):
    """What stands between a heading and the next."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", card.text, re.MULTILINE | re.DOTALL)
    return None if found is None else found[1].strip()


def numbers(text):
    return set(re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?!\w)", text))


def forms(value):
    """How a number of the facts may be written."""
    return {
        str(value), f"{value:.3g}", f"{value:g}", f"{100 * value:.1f}", f"{100 * value:g}", f"{value:.2f}", f"{value:.3f}", f"{value:.0f}",
        f"{60 * value:.1f}", f"{3600 * value:.1f}", f"{value:.4f}",
    }  # fmt: skip


def allowed(content):
    if isinstance(content, dict):
        return set().union(*(allowed(key) | allowed(value) for key, value in content.items()))
    if isinstance(content, list):
        return set().union({str(len(content))}, *(allowed(value) for value in content))
    if isinstance(content, bool) or content is None:
        return set()
    return forms(content) if isinstance(content, int | float) else numbers(content)


def only_what_is_known(card, folder, facts):
    """No number that neither the facts, nor the configuration, nor the text of every card has."""
    config = json.loads((folder / "config.json").read_text())
    model = tiny_model()
    model.save_pretrained(folder / "blank")
    always = numbers((folder / "blank" / "README.md").read_text()) | {
        "95",
        "-1",
    }  # the 95 % interval; a correlation of -1 to 1
    known = {
        name: config.get(name)
        for name in ("temperature", "conformal", "fusion_layers", "text_languages", "weights_license")
    }
    assert numbers(card.text) <= always | allowed(facts.to_dict()) | allowed(known), (
        numbers(card.text) - always - allowed(facts.to_dict())
    )


REPORT = {
    "version": 1,
    "title": "Emotion recognition on calls",
    "data": {
        "manifests": ["/home/ann/calls/manifest.csv"], "data_hash": "ab" * 32, "rows": 61, "left_out": 1, "measured": 60, "recordings": 60,
        "texts": 60, "hours": 0.0517, "speakers": 4, "languages": ["de", "en"], "corpora": ["ravdess"], "classes": {"anger": 20, "happiness": 20, "sadness": 20},
        "several_admissible": 0,
    },
    "protocol": {"name": None, "trains": False, "folds": [{"name": "", "protocol": "all", "train": 0, "validation": 0, "test": 60, "leaks": [], "notes": []}], "seeds": [1]},
    "labels": ["anger", "happiness", "sadness"],
    "label_set": "native",
    "model": {"name": "/home/ann/run/best", "training_data_from": None, "training_data": [], "rows_of_seen_speakers": 0},
    "systems": [
        {
            "system": "model", "kind": "model", "case": case, "clips": 60, "unanswered": 0, "seconds": 1.5, "speakers": 4,
            "figures": {"wa": ua + 0.01, "ua": ua, "macro_f1": ua - 0.02, "weighted_f1": ua - 0.01, "ece": 0.0731, "aurc": 0.3},
            "intervals": {"wa": [ua - 0.05, ua + 0.06], "ua": [ua - 0.04, ua + 0.04], "macro_f1": [None, None], "weighted_f1": [0.4, 0.9], "ece": [0.01, 0.12]},
            "groups": {"speaker": {"Ann Lee": {"clips": 15, "wa": 0.5, "ua": 0.5, "classes": 3}}, "gender": {"female": {"clips": 31, "wa": 0.6, "ua": 0.612, "classes": 3}}},
            "dimensions": {"valence": {"clips": 60, "ccc": 0.4321, "interval": [0.3, 0.55]}},
        }
        for case, ua in (("audio + text", 0.6789), ("audio", 0.6123), ("text", 0.5234), ("audio + recognised text", 0.6543))
    ] + [{"system": "majority", "kind": "baseline", "case": "any", "clips": 60, "unanswered": 0, "seconds": 0.0, "figures": {"wa": 0.3333, "ua": 0.3333}, "intervals": {"wa": [0.3, 0.37], "ua": [0.3333, 0.3333]}}],
    "comparisons": [], "modalities": [], "robustness": [],
    "leaks": ["2 voices in train and test (30 of 60 rows of test): Ann Lee, Bo"],
    "notes": ["4 speakers are few: expect several points of difference on others"],
    "left_out": [],
    "environment": {"command": "multimodal-ser evaluate /home/ann/calls/manifest.csv"},
    "recognition": {"whisper": "base", "clips": 60, "silent": 0, "wer": 0.123},
}  # fmt: skip

CALIBRATION = {
    "label_set": "native", "rows": 240, "left_out": {}, "failed": ["ann.wav: expected ..."],
    "cases": {
        "audio": {
            "rows": 240, "speakers": 4, "calibrated": True, "temperature": {"before": 1.0, "after": 0.9333}, "ece": {"before": 0.0686, "after": 0.0644},
            "unseen_speakers": {"ece": 0.0544, "ece_interval": [0.0512, 0.13], "covered": 0.8875, "covered_interval": [0.8083, 0.9667], "worst_covered": {"speaker": "Ann Lee", "covered": 0.8}},
        },
        "text": {"rows": 2, "speakers": 1, "calibrated": False, "temperature": {"before": 1.0, "after": 3.0}, "ece": {"before": 0.5, "after": 0.4}},
    },
}  # fmt: skip
CONFORMAL = {"audio": {"coverage": 0.9, "threshold": 0.8924, "method": "lac", "label_set": "native"}}
