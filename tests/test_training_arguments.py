"""Arguments of training: from Python, YAML and the command line; what is misspelt, of the wrong kind, or contradicts itself is refused."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from multimodal_ser import cli
from multimodal_ser.errors import InputError
from multimodal_ser.training import TrainingArguments
from multimodal_ser.training.arguments import PARTS, read_yaml


def arguments(**fields):
    return TrainingArguments(**{"data": ["clips"]} | fields)


def from_command_line(monkeypatch, *words):
    """What `train` is called with."""
    import multimodal_ser.training

    got = []
    monkeypatch.setattr(multimodal_ser.training, "train", got.append)
    code = cli.main(["train", *map(str, words)])
    return got[0] if got else code


# YAML


def test_yaml_gives_back_every_field(tmp_path):
    args = arguments(
        data=["a.csv", "b"], labels=["1e-3", "null"], learning_rate=3e-5, adam_epsilon=1e-8, seeds=[3, 1], model_config={"fusion_dropout": 0.3},
        augmentation={"noise": {"snr": (5, 20)}, "speed": {}}, noise_dir="noises", audio_learning_rate=1e-5, freeze=["text"], report_to=["none"],
        batch_seconds=60, cache_dir="größer", validation_speakers=["01", "02"],
    )  # fmt: skip
    args.to_yaml(tmp_path / "a.yaml")
    again = TrainingArguments.from_yaml(tmp_path / "a.yaml")
    assert again == args
    assert (
        again.labels == ["1e-3", "null"] and again.augmentation["noise"] == {"snr": [5, 20]} and again.report_to == []
    )
    assert read_yaml(tmp_path / "a.yaml") == dataclasses.asdict(args)  # which is what a resumed run compares


def test_yaml_of_a_person(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "data: clips\nlearning_rate: 1e-3\nnum_train_epochs: 3.0\naugmentation: [speed, gain]\nbf16: yes\nseeds: 7\nmodel_config:\nreport_to:\n"
    )
    args = TrainingArguments.from_yaml(path, bf16=False)
    assert (args.data, args.learning_rate, args.num_train_epochs, args.seeds) == (["clips"], 1e-3, 3, [7])
    assert isinstance(args.num_train_epochs, int)
    assert (args.augmentation, args.model_config, args.report_to, args.bf16) == (
        {"speed": {}, "gain": {}},
        {},
        [],
        False,
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("learnin_rate: 1", "did you mean 'learning_rate'"), ("learning-rate: 1", "did you mean 'learning_rate'"), ("nonsense: 1", "--help"), ("7: 1", "7: expected an option"),
        ("- a", "expected a mapping of options, got list"), ("", "expected a mapping"), ("a: [", "expected YAML"), ("data: clips\nbf16: 'true'", "bf16: expected true or false"),
        ("data: clips\naugmentation: 3", "augmentation: expected a mapping or a list"),
    ],
)  # fmt: skip
def test_yaml_that_is_wrong_is_told(tmp_path, text, told):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(InputError) as error:
        TrainingArguments.from_yaml(tmp_path / "a.yaml")
    assert told in str(error.value)


def test_yaml_that_is_not_there_or_no_text_is_told(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    for name in ("a.yaml", "b.yaml"):
        with pytest.raises(InputError, match="expected"):
            read_yaml(tmp_path / name)


# the command line


def test_command_line_takes_every_form(monkeypatch):
    args = from_command_line(
        monkeypatch, "a", "b.csv", "-o", "007", "--learning-rate", "1e-3", "--warmup-steps", "20", "--labels", "calm", "urgent", "--freeze", "--no-save-best-model",
        "--augmentation", "speed", "noise={snr: [5, 20], probability: 0.3}", "--model-config", "fusion_layers=1", "modality_dropout=0.5", "--seeds", "1", "2",
        "--validation-speakers", "01", "2", "--run-name", "1e5", "--num-train-epochs", "3", "--audio-layers", "null", "--report-to", "none", "--bf16",
    )  # fmt: skip
    assert (
        args.data == ["a", "b.csv"]
        and args.output_dir == "007"
        and args.run_name == "1e5"
        and args.validation_speakers == ["01", "2"]
    )
    assert (
        args.learning_rate == 1e-3 and args.warmup_steps == 20.0 and args.num_train_epochs == 3 and args.seeds == [1, 2]
    )
    assert (
        args.labels == ["calm", "urgent"] and args.freeze == [] and args.report_to == [] and args.audio_layers is None
    )
    assert args.augmentation == {"speed": {}, "noise": {"snr": [5, 20], "probability": 0.3}}
    assert args.model_config == {"fusion_layers": 1, "modality_dropout": 0.5}
    assert args.bf16 and not args.save_best_model and args.embedding_cache


def test_command_line_overrides_the_configuration(monkeypatch, tmp_path):
    config = tmp_path / "a.yaml"
    config.write_text(
        "data: [clips]\nlearning_rate: 0.5\nbf16: true\nfreeze: [text]\nseed: 3\naugmentation: {speed: {}}\n"
    )
    args = from_command_line(monkeypatch, "--config", config, "--no-bf16", "--freeze", "none", "--learning-rate", "0.1")
    assert (args.data, args.learning_rate, args.bf16, args.freeze, args.seed) == (["clips"], 0.1, False, [], 3)
    assert args.augmentation == {"speed": {}}
    assert from_command_line(monkeypatch, "others", "--config", config).data == ["others"]
    assert from_command_line(monkeypatch, "clips") == arguments()  # without any option: the defaults


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "data: expected at least one manifest or folder"), (["x", "--learning-rate", "fast"], "learning_rate: expected a number, got 'fast'"),
        (["x", "--num-train-epochs", "1.5"], "num_train_epochs: expected a whole number"), (["x", "--class-weights", "balancd"], "did you mean 'balanced'?"),
        (["--config", "nosuch.yaml"], "nosuch.yaml: expected a YAML file"), (["x", "--freeze", "audoi"], "did you mean 'audio'?"),
    ],
)  # fmt: skip
def test_command_line_that_is_wrong_is_told_in_a_line(words, told, capsys):
    assert cli.main(["train", *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and told in lines[0] and "; " in lines[0]


def test_an_option_that_is_misspelt_is_guessed(capsys):
    for words in (["train", "x", "--learnig-rate", "1"], ["predict", "x", "--modelities=audio"]):
        with pytest.raises(SystemExit) as stopped:
            cli.main(words)
        assert stopped.value.code == 2
        assert any(
            f"did you mean --{name}?" in capsys.readouterr().err
            for name in ("learning-rate" if words[0] == "train" else "modalities",)
        )


def test_help_describes_every_option(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        cli.main(["train", "--help"])
    told = capsys.readouterr().out
    for field in dataclasses.fields(TrainingArguments):
        name = "DATA" if field.name == "data" else f"--{field.name.replace('_', '-')}"
        assert name in told, name
        assert field.metadata["help"].split()[0] in told
    assert "none|balanced" in told and "(default: 0.15)" in told and "trained parts, losses and augmentation:" in told


def test_a_contradiction_of_the_command_line_touches_no_file(tmp_path, capsys):
    assert cli.main(["train", str(tmp_path), "-o", str(tmp_path / "run"), "--bf16", "--fp16"]) == 2
    assert "fp16: expected one kind" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# kinds of values

WRONG_KINDS = [
    ("learning_rate", "fast", "a number"), ("learning_rate", float("nan"), "a number"), ("max_duration", float("inf"), "a number"), ("learning_rate", True, "a number"),
    ("learning_rate", [1], "a number"), ("seed", 1.5, "a whole number"), ("seed", "one", "a whole number"), ("seed", True, "a whole number"),
    ("seeds", ["a"], "a whole number"), ("bf16", 1, "true or false"), ("bf16", "yes", "true or false"), ("bf16", None, "true or false"), ("model", 1.5, "a string"),
    ("output_dir", None, "a string"), ("labels", [["a"]], "a string"), ("labels", {"a": 1}, "a string"), ("run_name", True, "a string"), ("augmentation", 3, "a mapping or a list"),
    ("model_config", {"fusion_dropout": float("nan")}, "numbers, strings"), ("model_config", {"fusion_dropout": object()}, "numbers, strings"),
    ("modalities", "speech", "one of auto, audio, text, both"), ("modalities", None, "one of auto"), ("lr_scheduler_type", "Cosine", "did you mean 'cosine'"),
    ("metric_for_best_model", "UA", "did you mean 'ua'"), ("cache_dtype", "bfloat16", "float16"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "expected"), WRONG_KINDS, ids=lambda value: str(value)[:30])
def test_values_of_the_wrong_kind_are_refused_by_name(name, value, expected):
    with pytest.raises(InputError) as error:
        arguments(**{name: value})
    assert error.value.what == name and expected in str(error.value)


def test_values_are_converted_where_nothing_is_lost():
    args = arguments(
        data=Path("clips"),
        seed="5",
        learning_rate="1e-3",
        num_train_epochs=2.0,
        model=Path("a/b"),
        seeds=(1, "2"),
        freeze="text",
        run_name=7,
    )
    assert (args.data, args.seed, args.learning_rate, args.num_train_epochs) == (["clips"], 5, 1e-3, 2)
    assert (args.model, args.seeds, args.freeze, args.run_name) == ("a/b", [1, 2], ["text"], "7")
    assert arguments(class_weights=None).class_weights == "none"


def test_two_records_share_nothing():
    one, other = arguments(), arguments()
    one.freeze.append("head")
    one.augmentation["speed"] = {}
    assert other.freeze == ["audio", "text"] and other.augmentation == {}


def test_an_unknown_field_is_guessed():
    with pytest.raises(InputError, match="did you mean 'early_stopping_patience'"):
        TrainingArguments.from_dict({"data": ["x"], "early_stoping_patience": 3})


# ranges

OUT_OF_RANGE = [
    *[(name, value) for name in ("validation_share", "ema_decay", "lora_dropout", "adam_beta1", "adam_beta2") for value in (-0.1, 1)],
    *[(name, value) for name in ("label_smoothing_factor", "pair_matched", "pair_mismatched", "pseudo_label_threshold") for value in (-0.1, 1.1)],
    *[(name, value) for name in ("learning_rate", "audio_learning_rate", "lora_learning_rate", "max_duration", "batch_seconds", "trim_silence_db", "layer_decay", "adam_epsilon") for value in (0, -1)],
    *[(name, value) for name in ("num_train_epochs", "per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps", "logging_steps", "save_total_limit", "audio_layers") for value in (0, -1)],
    *[(name, -1) for name in ("context_turns", "audio_mask_spans", "lora_rank", "mixup_alpha", "warmup_steps", "weight_decay", "max_grad_norm", "dataloader_num_workers", "save_steps", "seed")],
    ("max_steps", 0), ("max_steps", -2), ("layer_decay", 1.5), ("seeds", [1, 1]), ("seeds", [-1]), ("data", []), ("labels", ["one"]), ("labels", ["Happy", "happy "]),
    ("freeze_audio_layers", -1), ("augmentation_variants", -1), ("early_stopping_patience", -1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE, ids=lambda value: str(value))
def test_values_out_of_range_are_refused_by_name(name, value):
    with pytest.raises(InputError) as error:
        arguments(**{name: value})
    assert error.value.what == name and error.value.remedy


# contradictions

ALL = ["audio", "text", "fusion", "head"]
SPEED = {"augmentation": ["speed"]}
CONTRADICTIONS = [
    # nothing left to train, or nothing that a freezing acts on
    ("freeze", {"freeze": ALL}), ("freeze", {"freeze": [*ALL, "audio_front"]}), ("freeze", {"freeze": ["audio", "fusion", "head"], "modalities": "audio"}),
    ("freeze", {"freeze": ["text", "fusion", "head"], "modalities": "text"}), ("freeze", {"freeze": ["heads"]}), ("freeze", {"freeze": ["head"], "new_head": True}),
    ("unfreeze_epoch", {"freeze": [], "unfreeze_epoch": 2}), ("unfreeze_epoch", {"freeze": ["audio_front"], "unfreeze_epoch": 2}), ("unfreeze_epoch", {"unfreeze_epoch": 15}),
    ("unfreeze_epoch", {"unfreeze_epoch": 0}), ("freeze_audio_layers", {"freeze_audio_layers": 2}), ("freeze_text_layers", {"freeze_text_layers": 2}),
    ("freeze_audio_layers", {"freeze_audio_layers": 2, "unfreeze_epoch": 3}), ("audio_learning_rate", {"audio_learning_rate": 1e-5}), ("text_learning_rate", {"text_learning_rate": 1e-5}),
    ("head_learning_rate", {"freeze": ["head"], "head_learning_rate": 1e-3}), ("fusion_learning_rate", {"freeze": ["fusion"], "fusion_learning_rate": 1e-3}), ("layer_decay", {"layer_decay": 0.8}),
    # adapters
    ("lora_rank", {"lora_rank": 8, "freeze": ["text"]}), ("lora_rank", {"lora_rank": 8, "freeze": ["audio"], "lora_branches": "text"}), ("lora_rank", {"lora_rank": 8, "freeze": []}),
    ("lora_alpha", {"lora_alpha": 32}), ("lora_dropout", {"lora_dropout": 0.1}), ("lora_learning_rate", {"lora_learning_rate": 1e-3}), ("lora_branches", {"lora_branches": "audio"}),
    ("lora_branches", {"lora_rank": 8, "lora_branches": "text", "modalities": "audio"}), ("unfreeze_epoch", {"lora_rank": 8, "unfreeze_epoch": 2}), ("text_learning_rate", {"lora_rank": 8, "text_learning_rate": 1e-3}),
    # selection
    ("early_stopping_patience", {"early_stopping_patience": 3, "validation_share": 0}), ("early_stopping_patience", {"early_stopping_patience": 3, "save_best_model": False}),
    ("test_speakers", {"validation_speakers": ["a", "b"], "test_speakers": ["b"]}), ("metric_for_best_model", {"metric_for_best_model": "ccc"}),
    # targets
    ("emotions", {"emotions": False}), ("mixup_alpha", {"emotions": False, "dimensions": ["arousal"], "mixup_alpha": 0.2}), ("class_weights", {"emotions": False, "dimensions": ["arousal"], "class_weights": "balanced"}),
    ("balanced_sampling", {"emotions": False, "dimensions": ["arousal"], "balanced_sampling": True}), ("labels", {"emotions": False, "dimensions": ["arousal"], "labels": ["a", "b"]}),
    ("unlabelled", {"emotions": False, "dimensions": ["arousal"], "unlabelled": "x"}), ("new_head", {"emotions": False, "dimensions": ["arousal"], "new_head": True}),
    ("pair_matched", {"emotions": False, "dimensions": ["arousal"], "pair_matched": 0.5}), ("label_smoothing_factor", {"emotions": False, "dimensions": ["arousal"], "label_smoothing_factor": 0.2}),
    ("metric_for_best_model", {"emotions": False, "dimensions": ["arousal"], "metric_for_best_model": "ua"}), ("emotions", {"emotions": False, "dimensions": ["arousal"], "audio_model": "x"}),
    ("dimensions", {"dimensions": ["arosal"]}), ("dimensions", {"dimensions": ["arousal", "arousal"]}), ("balanced_sampling", {"balanced_sampling": True, "class_weights": "balanced"}),
    # modalities
    ("transcribe", {"modalities": "text", "transcribe": True}), ("audio_model", {"modalities": "text", "audio_model": "x"}), ("unlabelled", {"modalities": "text", "unlabelled": "x"}), ("trim_silence_db", {"modalities": "text", "trim_silence_db": 40}),
    ("text_model", {"modalities": "audio", "text_model": "x"}), ("context_turns", {"modalities": "audio", "context_turns": 2}), ("transcribe", {"modalities": "audio", "transcribe": True}),
    ("pair_matched", {"modalities": "both", "pair_matched": 0.5}), ("pair_mismatched", {"modalities": "audio", "pair_mismatched": 0.5}), ("pair_matched and pair_mismatched", {"pair_matched": 0.6, "pair_mismatched": 0.6}),
    ("batch_seconds", {"modalities": "text", "batch_seconds": 100}), ("whisper", {"whisper": "base"}), ("pseudo_label_threshold", {"pseudo_label_threshold": 0.5}),
    # model
    ("model", {"model": "a", "audio_model": "b", "text_model": "c"}), ("audio_layers", {"audio_layers": 4}), ("model_config", {"model_config": {"fusion_layer": 1}}),
    ("model_config", {"model_config": {"label_smoothing": 0.2}}), ("model_config", {"model_config": {"class_weights": [1, 2]}}), ("model_config", {"model_config": {"id2label": {}}}),
    # computation
    ("fp16", {"fp16": True, "bf16": True}), ("fp16", {"fp16": True, "use_cpu": True}), ("batch_seconds", {"batch_seconds": 20}), ("batch_seconds", {"batch_seconds": 20, "max_duration": 20.5}),
    ("torch_compile_backend", {"torch_compile_backend": "eager"}), ("cache_dir", {"cache_dir": "x", "embedding_cache": False}), ("cache_dtype", {"cache_dtype": "float32", "embedding_cache": False}),
    # augmentation and trackers
    ("noise_dir", {"noise_dir": "x"}), ("noise_dir", {"noise_dir": "x", **SPEED}), ("room_dir", {"room_dir": "x", "augmentation": ["noise"]}), ("augmentation_variants", {"augmentation_variants": 4}),
    ("augmentation_variants", {"augmentation_variants": 1, **SPEED}), ("augmentation", {"augmentation": ["sped"]}), ("augmentation 'words'", {"augmentation": ["words"], "modalities": "audio"}),
    ("augmentation 'speed'", {"modalities": "text", **SPEED}), ("report_to", {"report_to": ["tensorbord"]}), ("report_to", {"report_to": ["none", "wandb"]}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields"), CONTRADICTIONS, ids=lambda value: str(value)[:70])
def test_contradictions_are_refused_with_a_remedy(name, fields):
    with pytest.raises(InputError) as error:
        arguments(**fields)
    assert error.value.what == name
    assert error.value.remedy and "expected" in str(error.value) and "\n" not in str(error.value)


def test_misspelt_names_are_guessed():
    for fields, guess in (
        ({"freeze": ["heads"]}, "head"), ({"dimensions": ["Arousal"]}, "arousal"), ({"report_to": ["tensorbord"]}, "tensorboard"), ({"augmentation": ["sped"]}, "speed"),
        ({"model_config": {"fusion_layer": 1}}, "fusion_layers"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"did you mean '{guess}'"):
            arguments(**fields)
    with pytest.raises(InputError, match="use label_smoothing_factor"):
        arguments(model_config={"label_smoothing": 0.2})


REASONABLE = [
    {}, {"freeze": []}, {"freeze": ["none"]}, {"freeze": ["audio", "text", "fusion"]}, {"freeze": ["audio_front"], "audio_learning_rate": 1e-5, "layer_decay": 0.8}, {"freeze": ALL, "unfreeze_epoch": 3},
    {"freeze": ALL, "lora_rank": 8}, {"freeze": ["text"], "freeze_audio_layers": 4, "audio_learning_rate": 1e-5}, {"unfreeze_epoch": 3, "audio_learning_rate": 1e-5, "layer_decay": 0.8},
    {"lora_rank": 8, "lora_alpha": 32, "lora_dropout": 0.1, "lora_learning_rate": 1e-3}, {"lora_rank": 8, "lora_branches": "audio", "freeze": ["audio"], "modalities": "audio"},
    {"early_stopping_patience": 3, "validation_share": 0, "validation_speakers": ["a"]}, {"validation_share": 0}, {"dimensions": ["arousal", "valence"], "mixup_alpha": 0.2},
    {"emotions": False, "dimensions": ["arousal"]}, {"emotions": False, "dimensions": ["arousal"], "metric_for_best_model": "loss"}, {"dimensions": ["arousal"], "metric_for_best_model": "ccc"},
    {"bf16": True, "use_cpu": True}, {"batch_seconds": 30}, {"batch_seconds": 5, "max_duration": 5}, {"augmentation": {"noise": {"snr": 10}}, "noise_dir": "x"}, {"augmentation": ["speed"], "augmentation_variants": 4},
    {"augmentation": ["words"], "modalities": "text"}, {"transcribe": True, "whisper": "base"}, {"unlabelled": "x", "pseudo_label_threshold": 0}, {"pair_matched": 0.5, "pair_mismatched": 0.5},
    {"audio_model": "a", "text_model": "b", "audio_layers": 4}, {"model": "a", "audio_model": "b"}, {"modalities": "text", "text_model": "b", "context_turns": 2}, {"class_weights": "balanced"},
    {"balanced_sampling": True, "label_smoothing_factor": 0}, {"report_to": ["none"]}, {"report_to": ["tensorboard", "wandb", "mlflow"]}, {"seeds": [1, 2, 3], "cache_dir": "x"}, {"seeds": [1, 2], "embedding_cache": False},
    {"torch_compile": True, "torch_compile_backend": "eager"}, {"model_config": {"fusion_layers": 1, "modality_dropout": 0.3}}, {"max_steps": 10}, {"warmup_steps": 100, "ema_decay": 0.99},
]  # fmt: skip


@pytest.mark.parametrize("fields", REASONABLE, ids=str)
def test_reasonable_combinations_are_taken(fields):
    args = arguments(**fields)
    assert set(args.freeze) <= set(PARTS)
    assert dataclasses.replace(args, seeds=[1]).data == ["clips"]  # what was checked is taken again
    assert TrainingArguments.from_dict(yaml.safe_load(yaml.safe_dump(dataclasses.asdict(args)))) == args


def test_the_metric_follows_what_is_learned():
    assert arguments().metric == "ua"
    assert arguments(emotions=False, dimensions=["arousal"]).metric == "ccc"
    assert arguments(metric_for_best_model="loss").metric == "loss"
