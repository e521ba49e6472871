"""The sections of a model card, in the order of the Hub's template: each says what is known, or that it is not.

https://github.com/huggingface/huggingface_hub/blob/main/src/huggingface_hub/templates/modelcard_template.md
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from multimodal_ser.hub.card_facts import CARD_MARK, CardFacts, DataPart, Evaluation, Measured, Source
from multimodal_ser.metrics.registry import Metric, metrics_of, shown_metrics

CASE_NAMES = {"both": "recording and words", "audio": "recording alone", "text": "words alone"}
GIVEN = {
    "audio": "recording alone",
    "text": "words alone",
    "audio + text": "recording and words",
    "recognised text": "recognised words alone",
    "audio + recognised text": "recording and recognised words",
    "any": "nothing",
}

DIRECT_USE = """To study speech, to search and sort recordings, to help people who annotate, to start fine-tuning from. The model guesses
which emotion a listener would hear; it does not know what a person feels."""

OUT_OF_SCOPE = """Not for decisions about people: hiring, work, school, insurance, credit, policing, border control. Not for lie detection.
Not for medical use, neither for diagnosis nor for triage.

In the European Union, inferring emotions in the workplace or in education is prohibited, but for medical or safety reasons (AI Act,
Regulation (EU) 2024/1689, Article 5(1)(f)), and people who are exposed to emotion recognition have to be told (Article 50(3))."""

LIMITS = """The model is wrong often, more often for speakers, languages and situations unlike those that it was trained on. Age, gender,
accent, illness and recording conditions change how a voice sounds, and may be served unequally. Emotions that are acted differ from those
that are felt, and what one culture hears in a voice another may not. Transcripts that are wrong mislead the text branch."""

RECOMMENDATIONS = """Measure it on your own data, speaker by speaker, before you rely on it (`multimodal-ser evaluate`), and calibrate it
there (`multimodal-ser calibrate`). Let a person look at what matters. Tell the people whose voices are heard."""

FIGURES_EXPLAINED = """In percent; in brackets the 95 % interval, where one was measured: it resamples speakers, or recordings where no
speakers are named. UA (unweighted average recall) is the mean of the classes' recalls, WA (weighted accuracy) the share of rows that are
right, ECE (expected calibration error) the distance between confidence and accuracy."""

TEMPERATURES_EXPLAINED = """Outside training the logits are divided by the temperature of what is given: 1 changes nothing, more makes the
model less sure, less makes it surer. On other data than it was fitted on, confidence may promise too much."""

SETS_EXPLAINED = """Label sets (conformal prediction): of inputs like those of the calibration, the promised share of sets holds the true
label, on average over all of them; for one speaker, one emotion or other recordings it may be less."""


def render_card(
    config: Any, num_parameters: int, facts: CardFacts | None = None, *, model_id: str | None = None
) -> str:
    """The card below the metadata block, Markdown; arguments as `write_model_card` takes them."""
    facts = facts or CardFacts()
    sections = [
        ("# Emotion recognition from speech and its transcript", _summary(config, num_parameters)),
        ("## Model details", _details(config, facts)),
        ("## Uses", ""),
        ("### Direct use", DIRECT_USE),
        ("### Out-of-scope use and law", OUT_OF_SCOPE),
        ("## Bias, risks and limitations", f"{LIMITS}\n\n{_unequal(facts)}"),
        ("### Recommendations", RECOMMENDATIONS),
        ("## How to get started with the model", _how_to(config, model_id)),
        ("## Training details", _started_from(config, facts)),
        # evaluation reads a section of this name as what the model has seen: it is there only where that is known
        ("### Training data", _training_data(facts)) if _seen(facts) else ("", "Training data: not recorded."),
        ("### Training procedure", _procedure(facts)),
        ("## Evaluation", _evaluation(facts)),
        *((f"### {_unique(number, entry, facts)}", _results(entry)) for number, entry in enumerate(facts.evaluation)),
        ("### Calibration", _calibration(config, facts)),
        ("## Environmental impact", _environment(facts)),
        ("## Citation", _citation(facts)),
        (
            "## About this card",
            f"{CARD_MARK} from what it knew. Whoever edits it takes this line out, and it is left alone from then on.",
        ),
    ]
    return "\n\n".join(part for section in sections for part in section if part) + "\n"


def _summary(config: Any, num_parameters: int) -> str:
    audio_config: Any = config.audio_config
    text_config: Any = config.text_config
    branches = f"A `{audio_config.model_type}` audio branch and a `{text_config.model_type}` text branch"
    layers = (
        f"joined by {config.fusion_layers} cross-attention layers" if config.fusion_layers else "pooled side by side"
    )
    labels = ", ".join(_plain(config.id2label[i]) for i in range(config.num_labels))
    return f"Classes: {labels}.\n\n{branches}, {layers}; {num_parameters / 1e6:.1f} M parameters."


def _details(config: Any, facts: CardFacts) -> str:
    kind = "emotion classification of speech and its transcript"
    if config.dimensions:
        kind += f", with {', '.join(map(_plain, config.dimensions))}"
    inherited = "unknown; it is the author's to say."
    if config.weights_license:
        inherited = f"{_plain(config.weights_license)}, inherited from the weights that training started from."
    if any(part.licence for part in learned(facts)):
        inherited += " The data's licences stand below; what they ask of a model is not decided here."
    lines = {
        "Developed by": "not recorded.",
        "Model type": f"{kind}.",
        "Learned from": f"{' and '.join(map(_plain, config.trained_modalities))}."
        if config.trained_modalities
        else "not recorded.",
        "Languages that the text branch reads": f"{', '.join(map(_plain, config.text_languages))}."
        if config.text_languages
        else "no list is kept.",
        "Words of the training data": f"heard by Whisper {_plain(config.transcriber)}."
        if config.transcriber
        else "origin not recorded.",
        "Licence of the weights": inherited,
        "Audio branch started from": _branch_name(config.audio_config),
        "Text branch started from": _branch_name(config.text_config),
    }
    return "\n".join(f"- **{name}:** {value}" for name, value in lines.items())


def _unequal(facts: CardFacts) -> str:
    """What was measured of groups of people."""
    rows = [
        [_given(each), _plain(name), _plain(value), f"{figures['rows']:.0f}", _percent(figures.get("ua"))]
        for entry in facts.evaluation for each in entry.systems if each.kind != "baseline"
        for name, groups in each.groups.items() for value, figures in groups.items() if "rows" in figures
    ]  # fmt: skip
    if not rows:
        return "How it serves groups of people (gender, language) was not measured."
    return "Measured by group, UA in percent:\n\n" + _table(["given", "group", "", "rows", "UA"], rows)


def _how_to(config: Any, model_id: str | None) -> str:
    given = 'text="I can\'t believe it!"' if config.trained_modalities == ["text"] else '"call.wav"'
    return f"""```python
from multimodal_ser import MultimodalEmotionClassifier

classifier = MultimodalEmotionClassifier.from_pretrained("{model_id or "PATH_OR_HUB_ID"}")
prediction = classifier.predict({given})
print(prediction.label, prediction.confidence)
```"""


def _started_from(config: Any, facts: CardFacts) -> str:
    source = facts.started_from
    if source is not None:
        return f"The weights started from {_source_name(source)}."
    return (
        "The branches started from encoders (above)."
        if branch_ids(config)
        else "What the weights started from is not recorded."
    )


def _seen(facts: CardFacts) -> bool:
    source = facts.started_from
    return bool(facts.training_data) or (
        source is not None and bool(source.told or (source.facts is not None and _seen(source.facts)))
    )


def _training_data(facts: CardFacts) -> str:
    parts = []
    if facts.training_data:
        rows = [
            [
                _plain(each.name), _plain(each.part), _known(each.rows), _known(each.recordings), _known(each.texts), _hours(each.hours),
                _known(each.speakers), ", ".join(map(_plain, each.languages)) or "unknown", _plain(each.licence or "unknown"),
            ]
            for each in facts.training_data
        ]  # fmt: skip
        head = ["data", "used for", "rows", "recordings", "with words", "length", "speakers", "languages", "licence"]
        parts.append(_table(head, rows))
    source = facts.started_from
    if source is not None and source.facts is not None and _seen(source.facts):
        parts.append(f"Before that, {_source_name(source)} was trained on:\n\n{_training_data(source.facts)}")
    elif source is not None and source.told:
        quoted = "\n".join(f"> {line}".rstrip() for line in source.told.splitlines())
        parts.append(f"The card of {_source_name(source)} says of its training data:\n\n{quoted}")
    return "\n\n".join(parts)


def _procedure(facts: CardFacts) -> str:
    if not facts.procedure:
        return "Not recorded."
    lines = [f"- {_plain(name)}: {_plain(value)}" for name, value in facts.procedure.items() if value is not None]
    if facts.versions:
        lines.append(
            f"- software: {', '.join(f'{_plain(name)} {_plain(value)}' for name, value in facts.versions.items())}"
        )
    return "\n".join(lines)


def _evaluation(facts: CardFacts) -> str:
    if not facts.evaluation:
        return "Not measured, as far as is recorded."
    others = (m for m in shown_metrics() if m.meaning and m.title not in FIGURES_EXPLAINED)
    return FIGURES_EXPLAINED + "".join(f" {metric.title} is {metric.meaning}." for metric in others)


def _unique(number: int, entry: Evaluation, facts: CardFacts) -> str:
    title = f"Results on {_plain(entry.name)}"
    same = [each for each in facts.evaluation[:number] if each.name == entry.name]
    return f"{title}, {len(same) + 1}" if same else title


def _results(entry: Evaluation) -> str:
    size = [
        f"{entry.rows} rows" if entry.rows is not None else "",
        _hours(entry.hours) if entry.hours else "",
        f"{entry.speakers} speaker{'s' * (entry.speakers > 1)}" if entry.speakers else "speakers unknown",
        f"languages {', '.join(map(_plain, entry.languages))}" if entry.languages else "languages unknown",
    ]
    lines = [f"- Measured on {', '.join(filter(None, size))}."]
    lines.append(f"- Protocol: {_plain(entry.protocol)}." if entry.protocol else "- Protocol: not recorded.")
    if any(each.kind == "network" for each in entry.systems):
        seeds = f", {entry.seeds} seeds each" if (entry.seeds or 0) > 1 else ""
        lines.append(f"- Measured were models trained in the same way, one a fold{seeds}; not these weights.")
    elif entry.model:
        lines.append(f"- The report names the model {_plain(entry.model)}.")
    if entry.whisper:
        wer = "" if entry.wer is None else f", word error rate {_percent(entry.wer)} %"
        lines.append(f"- Words were recognised by Whisper {_plain(entry.whisper)}{wer}.")
    own = [each for each in entry.systems if each.kind != "baseline"]
    absent = [
        name
        for given, name in GIVEN.items()
        if given in ("audio", "text", "audio + text") and given not in {e.given for e in own}
    ]
    if absent:
        lines.append(f"- Not measured: {', '.join(absent)}.")
    if entry.source == "report":
        lines += [f"- Leak: {_plain(line)}." for line in entry.leaks] or ["- Leaks: the report names none."]
    lines += [f"- {_plain(line)}." for line in entry.notes]
    metrics = [metric for metric in shown_metrics() if any(metric.name in each.figures for each in entry.systems)]
    order = sorted(
        entry.systems,
        key=lambda each: (each.kind == "baseline", list(GIVEN).index(each.given) if each.given in GIVEN else 9),
    )
    rows = [
        [
            _system(each),
            _given(each),
            _known(each.rows),
            *(_with_interval(each, metric.name, metric) for metric in metrics),
        ]
        for each in order
    ]
    tables = [_table(["measured", "given", "rows", *(metric.title for metric in metrics)], rows)] if metrics else []
    for metric in metrics_of("dimensions"):
        prefix = f"{metric.name}_"
        found = [
            [_system(each), _given(each), _plain(name.removeprefix(prefix)), _with_interval(each, name, metric)]
            for each in order for name in each.figures if name.startswith(prefix)
        ]  # fmt: skip
        if found:
            head = _table(["measured", "given", "dimension", metric.title], found)
            tables.append(f"{metric.meaning or metric.title}:\n\n{head}")
    return "\n\n".join(["\n".join(lines), *tables])


def _calibration(config: Any, facts: CardFacts) -> str:
    rows = []
    for case in CASE_NAMES:
        known = facts.calibration.get(case)
        value = config.temperature[case]
        fitted, error = "not recorded", "not measured"
        if known is not None and (
            known.temperature is None or abs(known.temperature - value) < 1e-9
        ):  # else it was changed since
            fitted = f"{_known(known.rows)} rows, {_known(known.speakers)} speakers"
            error = f"{_percent(known.ece_before)} before, {_percent(known.ece_after)} after"
            if known.ece_unseen is not None:
                error += f", {_percent(known.ece_unseen)}{_span(known.ece_unseen_interval)} on speakers left out"
        rows.append([CASE_NAMES[case], f"{value:.3g}", fitted, error])
    parts = [
        TEMPERATURES_EXPLAINED,
        _table(["given", "temperature", "fitted on", "ECE, %"], rows),
    ]
    if not config.conformal:
        return "\n\n".join([*parts, "Label sets: not calibrated."])
    methods = {
        "lac": "labels that are probable enough by themselves (lac)",
        "aps": "the most probable labels down to the true one (aps)",
    }
    sets = []
    for case in sorted(config.conformal, key=list(CASE_NAMES).index):
        stored = config.conformal[case]
        known = facts.calibration.get(case)
        covered = "not measured"
        if known is not None and known.covered_unseen is not None:
            covered = f"{_percent(known.covered_unseen)}{_span(known.covered_unseen_interval)}"
        method = methods[str(stored["method"])]
        promised = f"{100 * float(stored['coverage']):g}"
        sets.append(
            [
                CASE_NAMES[case],
                promised,
                f"{float(stored['threshold']):.3g}",
                method,
                _plain(stored["label_set"]),
                covered,
            ]
        )
    parts.append(SETS_EXPLAINED)
    head = ["given", "promised, %", "threshold", "made of", "label set", "held the truth on speakers left out, %"]
    return "\n\n".join([*parts, _table(head, sets)])


TIMES = {"hours": "time", "hours since it was last resumed": "time since it was last resumed"}
"""Facts in hours, and how the card names them beside a value with its unit."""


def _environment(facts: CardFacts) -> str:
    known = facts.environment
    energy = known.get("energy in kWh")
    lines = [
        f"- {_plain(name)}: {_plain(value)}"
        for name, value in known.items()
        if value is not None and name not in (*TIMES, "energy in kWh")
    ]
    lines = lines or ["- device: not recorded"]
    before = "" if facts.started_from is None else " (what went into the weights that it started from is not counted)"
    times = [
        f"- {said}: {_hours(value)}{before}"
        for name, said in TIMES.items()
        if isinstance(value := known.get(name), int | float)
    ]
    lines += times or [f"- time: not recorded{before}"]
    lines.append("- energy: not measured" if energy is None else f"- energy: {_plain(energy)} kWh, measured")
    lines.append("- carbon emitted: not computed")
    return "\n".join(lines)


def _citation(facts: CardFacts) -> str:
    named = list(dict.fromkeys(_plain(part.name) for part in learned(facts) if part.dataset))
    asked = f" Cite the corpora that it learned from as their authors ask: {', '.join(named)}." if named else ""
    return f"No publication of this model is recorded.{asked}"


def learned(facts: CardFacts) -> list[DataPart]:
    """What it was trained or chosen on, and what the weights before it were."""
    own = [part for part in facts.training_data if part.part in ("training", "validation")]
    before = facts.started_from.facts if facts.started_from is not None else None
    return own + ([] if before is None else learned(before))


def is_code(language: str) -> bool:
    """Whether it looks like a language code of two or three letters (ISO 639)."""
    return 2 <= len(language) <= 3 and language.isascii() and language.isalpha() and language.islower()


def is_hub_id(name: str) -> bool:
    """Whether it has the form of a repository's name on the Hub: "user/model" or "model"."""
    parts = name.split("/")
    plain = all(part[:1].isalnum() and part.translate({ord(sign): None for sign in "-_."}).isalnum() for part in parts)
    return len(parts) <= 2 and plain and name.isascii()


def _hub_id(branch: Any) -> str | None:
    """The Hub id that a branch was loaded from; a folder's path is none."""
    name = str(getattr(branch, "_name_or_path", "") or "")
    return name if "/" in name and is_hub_id(name) and not Path(name).exists() else None


def branch_ids(config: Any) -> list[str]:
    """The Hub ids that the branches were loaded from, as far as they are known."""
    found = (_hub_id(config.audio_config), _hub_id(config.text_config))
    return list(dict.fromkeys(name for name in found if name is not None))


def _branch_name(branch: Any) -> str:
    found = _hub_id(branch)
    return "not recorded." if found is None else f"[{found}](https://huggingface.co/{found})."


def _source_name(source: Source) -> str:
    name = _plain(source.name)
    return f"[{name}](https://huggingface.co/{name})" if source.hub and is_hub_id(source.name) else name


def _system(measured: Measured) -> str:
    return {"model": "**this model**", "network": "**trained alike**"}.get(measured.kind, _plain(measured.system))


def _given(measured: Measured) -> str:
    return GIVEN.get(measured.given, _plain(measured.given))


def _with_interval(measured: Measured, name: str, metric: Metric) -> str:
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


def _known(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _plain(value: Any) -> str:
    """One line that neither ends a table's cell nor begins anything: no HTML, link, picture, code or emphasis."""
    line = re.sub(r"[\\`*|]", r"\\\g<0>", " ".join(str(value).split()))
    return line.replace("<", "&lt;").replace("](", "]\\(")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells are Markdown; names go through `_plain` first."""
    lines = [[*head], ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
