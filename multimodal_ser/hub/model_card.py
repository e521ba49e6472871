"""The model card that `save_pretrained` writes: metadata and text, from the facts of `card_facts`.

https://github.com/huggingface/hub-docs/blob/main/modelcard.md describes the metadata; model_card_template.md has
the text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from multimodal_ser.hub.card_facts import CARD_MARK, FACTS_NAME, TRAINER_MARK, CardFacts, Evaluation, Measured, facts_of
from multimodal_ser.metrics.registry import Metric, metrics_of, shown_metrics

TEMPLATE = Path(__file__).with_name("model_card_template.md")

CASE_NAMES = {"both": "recording and words", "audio": "recording alone", "text": "words alone"}
"""Names of the modality cases in the card, in the order of the temperatures in a configuration."""

GIVEN = {
    "audio": "recording alone",
    "text": "words alone",
    "audio + text": "recording and words",
    "recognised text": "recognised words alone",
    "audio + recognised text": "recording and recognised words",
    "any": "nothing",
}

HUB_LICENSES = frozenset(
    [
        "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m", "bigscience-bloom-rail-1.0",
        "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "c-uda",
        "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0",
        "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
        "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0",
        "eupl-1.1", "agpl-3.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "isc", "lppl-1.3c", "ms-pl", "mpl-2.0",
        "odc-by", "odbl", "openrail++", "osl-3.0", "postgresql", "ofl-1.1", "ncsa", "unlicense", "zlib", "pddl", "lgpl-lr",
        "deepfloyd-if-license", "llama2", "gemma", "unknown", "other",
    ]
)  # fmt: skip
"""Identifiers that the Hub knows (https://huggingface.co/docs/hub/repositories-licenses); any other is `other` with a `license_name`."""

TASK = "audio-classification"


def save_model_card(
    model: Any, folder: str | Path, facts: CardFacts | None = None, *, model_id: str | None = None
) -> bool:
    """Write the card of a model that was saved into `folder`, and card_facts.json beside it.

    Args:
        model: the `MultimodalEmotionClassifier`. Its facts come from its attribute `card_facts` if that is set, else
            from the checkpoint that it was loaded from: as its own while the weights are the same, else as those of the
            checkpoint it started from.
        folder: folder of the saved model.
        facts: further facts, such as the result of `facts_from_report("report.json")`.
        model_id: Hub id of the model, if it has one.

    Returns:
        Whether the card was written; False: the folder has a card that a person wrote. A card of transformers' Trainer
        is replaced.

    Example:
        >>> import tempfile
        >>> from multimodal_ser.hub import CardFacts, save_model_card
        >>> from multimodal_ser.testing import tiny_model
        >>> folder, model = tempfile.mkdtemp(), tiny_model()
        >>> model.save_pretrained(folder)
        >>> save_model_card(model, folder, CardFacts(procedure={"epochs": 15}))
        True
    """
    own: CardFacts | None = getattr(model, "card_facts", None)
    all_facts = own or facts_of(model) or CardFacts()
    weights = all_facts.weights if own is None and all_facts.weights else model.weights_digest()
    if facts is not None:
        all_facts = all_facts | facts
    source = all_facts.started_from
    if (
        source is not None
        and source.name == model_id
        and not source.told
        and (source.facts is None or not source.facts.says_something)
    ):
        all_facts = replace(all_facts, started_from=None)  # an earlier commit of this repository without any facts
    all_facts = replace(
        all_facts, temperature={case: float(model.config.temperature[case]) for case in CASE_NAMES}, weights=weights
    )
    return write_model_card(
        model.config, Path(folder), sum(p.numel() for p in model.parameters()), all_facts, model_id=model_id
    )


def write_model_card(
    config: Any,
    folder: Path,
    num_parameters: int,
    facts: CardFacts | None = None,
    *,
    model_id: str | None = None,
) -> bool:
    """Write README.md into `folder`, unless a person has written one there already, and card_facts.json.

    Args:
        config: configuration of the model.
        folder: folder of the saved model.
        num_parameters: number of parameters of the whole model.
        facts: facts about the model; None: there are none, and a card_facts.json of another model is deleted.
        model_id: the Hub id.

    Returns:
        Whether the card was written.
    """
    if facts is None:
        (folder / FACTS_NAME).unlink(missing_ok=True)
    else:
        facts.save(folder)
    path = folder / "README.md"
    existing = path.read_text(encoding="utf-8", errors="replace") if path.exists() else CARD_MARK
    if CARD_MARK not in existing and TRAINER_MARK not in existing:
        return False
    metadata = card_metadata(config, facts, model_id=model_id, has_license_file=(folder / "LICENSE").is_file())
    body = render_card(config, num_parameters, facts, model_id=model_id)
    ModelCard(f"---\n{metadata.to_yaml()}\n---\n\n{body}").save(path)
    return True


def render_card(
    config: Any, num_parameters: int, facts: CardFacts | None = None, *, model_id: str | None = None
) -> str:
    """The card below the metadata block, Markdown; the arguments are those of `write_model_card`."""
    known = facts or CardFacts()
    environment = Environment(
        loader=FileSystemLoader(TEMPLATE.parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "plain": _plain, "given": _given, "count": _count, "percent": _percent, "hours": _hours, "span": _span, "figure": _figure,
        "figures": _figures, "dimensions": _dimensions, "in_order": _in_order, "hub_name": _hub_name,
    }  # fmt: skip
    environment.tests["hub_id"] = is_hub_id
    text = environment.get_template(TEMPLATE.name).render(
        config=config, num_parameters=num_parameters, facts=known, model_id=model_id, mark=CARD_MARK, cases=CASE_NAMES,
        labels=[config.id2label[index] for index in range(config.num_labels)], branches=branch_ids(config),
        shown_metrics=shown_metrics(), dimension_metrics=metrics_of("dimensions"),
    )  # fmt: skip
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def card_metadata(
    config: Any,
    facts: CardFacts | None = None,
    *,
    model_id: str | None = None,
    has_license_file: bool = False,
) -> ModelCardData:
    """The metadata block, in the Hub's terms; it has no entries for unknown facts.

    Args:
        config: configuration of the model.
        facts: facts about the model.
        model_id: the Hub id.
        has_license_file: whether a file LICENSE lies beside the card.
    """
    facts = facts or CardFacts()
    inherited = _license_id(config.weights_license)
    listed = inherited in HUB_LICENSES
    results = [each for entry in facts.evaluation if entry.source == "report" for each in _eval_results(entry)]
    languages = dict.fromkeys(
        [*(config.text_languages or []), *(code for part in facts.learned for code in part.languages if is_code(code))]
    )
    sets = dict.fromkeys(part.dataset for part in facts.learned if part.dataset and is_hub_id(part.dataset))
    source = facts.started_from
    bases = [source.name] if source is not None and source.hub and is_hub_id(source.name) else branch_ids(config)
    return ModelCardData(
        license=None if inherited is None else inherited if listed else "other",
        license_name=None if inherited is None or listed else inherited,
        license_link="LICENSE" if inherited is not None and not listed and has_license_file else None,
        language=[code for code in languages if is_code(code)] or None,
        library_name="multimodal_ser",
        pipeline_tag=TASK,
        tags=["speech-emotion-recognition", "multimodal"],
        base_model=[name for name in bases if name != model_id] or None,
        datasets=list(sets) or None,
        metrics=sorted({each.metric_type for each in results}) or None,
        eval_results=results or None,
        model_name=(model_id or "multimodal_ser").rpartition("/")[2] if results else None,
    )


def _eval_results(entry: Evaluation) -> list[EvalResult]:
    results = []
    for each in entry.systems:
        if each.kind == "baseline":
            continue
        dataset = next(filter(is_hub_id, entry.datasets), None) or _line(entry.name)
        alike = "" if each.kind == "model" else f", models trained alike on {entry.folds} folds"
        for metric in shown_metrics():
            if metric.hub is not None and metric.name in each.figures:
                kind, options = metric.hub
                results.append(
                    EvalResult(
                        task_type=TASK, task_name="speech emotion recognition", dataset_type=dataset,
                        dataset_name=_line(entry.name), dataset_args={"protocol": _line(entry.protocol)} if entry.protocol else None,
                        metric_type=kind, metric_value=round(each.figures[metric.name], 4),
                        metric_name=f"{metric.title}, {GIVEN.get(each.given, each.given)}{alike}", metric_args=dict(options) or None,
                    )
                )  # fmt: skip
    return results


def _line(text: str) -> str:
    return " ".join(text.split()) or "not named"


def _license_id(name: str | None) -> str | None:
    """The name of a licence in the Hub's form: one that it lists, or letters, digits, dots and hyphens."""
    normalized = "-".join(re.findall(r"[a-z0-9.+]+", (name or "").lower()))
    return (
        normalized
        if normalized in HUB_LICENSES
        else "-".join(re.findall(r"[a-z0-9.]+", normalized.replace("+", " plus ")))
    ) or None


def _given(name: str) -> str:
    return GIVEN.get(name, _plain(name))


def _in_order(entry: Evaluation) -> list[Measured]:
    """The systems, models before baselines, each in the order of their inputs."""
    places = list(GIVEN)
    return sorted(
        entry.systems,
        key=lambda each: (each.kind == "baseline", places.index(each.given) if each.given in places else 9),
    )


def _figures(entry: Evaluation) -> list[Metric]:
    """The metrics for which any system has a figure."""
    return [metric for metric in shown_metrics() if any(metric.name in each.figures for each in entry.systems)]


def _dimensions(entry: Evaluation, metric: Metric) -> list[tuple[Measured, str]]:
    return [(each, name) for each in _in_order(entry) for name in each.figures if name.startswith(f"{metric.name}_")]


def is_code(language: str) -> bool:
    """Whether a text has the form of a language code of two or three letters (ISO 639)."""
    return 2 <= len(language) <= 3 and language.isascii() and language.isalpha() and language.islower()


def is_hub_id(name: str) -> bool:
    """Whether a text has the form of a repository's name on the Hub: "user/model" or "model"."""
    parts = name.split("/")
    plain = all(part[:1].isalnum() and part.translate({ord(sign): None for sign in "-_."}).isalnum() for part in parts)
    return len(parts) <= 2 and plain and name.isascii()


def _hub_name(branch: Any) -> str | None:
    """The Hub id that a branch was loaded from; None: it was loaded from a folder, or the id is not known."""
    name = str(getattr(branch, "_name_or_path", "") or "")
    return name if "/" in name and is_hub_id(name) and not Path(name).exists() else None


def branch_ids(config: Any) -> list[str]:
    """The Hub ids that the branches were loaded from, as far as they are known."""
    ids = (_hub_name(config.audio_config), _hub_name(config.text_config))
    return list(dict.fromkeys(name for name in ids if name is not None))


def _figure(measured: Measured, name: str, metric: Metric) -> str:
    if name not in measured.figures:
        return "unknown"
    ends = _span(measured.intervals.get(name, []), metric.factor, metric.digits)
    return f"{metric.text(measured.figures[name])}{ends}"


def _span(ends: Sequence[float], factor: float = 100, digits: int = 1) -> str:
    return f" [{factor * ends[0]:.{digits}f} to {factor * ends[1]:.{digits}f}]" if len(ends) == 2 else ""


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{100 * share:.1f}"


def _hours(hours: float | None) -> str:
    if hours is None:
        return "unknown"
    if hours < 1 / 60:
        return f"{3600 * hours:.1f} s"
    return f"{hours:.2f} h" if hours >= 1 else f"{60 * hours:.1f} min"


def _count(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _plain(value: Any) -> str:
    """The value as one line for a cell of a table, escaped: no HTML, link, picture, code or emphasis."""
    line = re.sub(r"[\\`*|]", r"\\\g<0>", " ".join(str(value).split()))
    return line.replace("<", "&lt;").replace("](", "]\\(")
