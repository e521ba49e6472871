"""transformers' common model tests (its ModelTesterMixin), those that apply to a model of two branches, for every family of branches.

What test_transformers_contract.py and test_loading.py hold already (sdpa against eager, masks, cross-attention) is not repeated.
"""

import copy
import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForAudioClassification, Trainer, TrainingArguments

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.model import modeling_branches
from multimodal_ser.model.modeling_core import MultimodalEmotionPreTrainedModel
from multimodal_ser.model.modeling_whisper_audio_encoder import sinusoids
from multimodal_ser.testing import (
    AUDIO_FAMILIES,
    TEXT_FAMILIES,
    synthetic_speech,
    tiny_config,
    tiny_model,
    tiny_processor,
)

FAMILIES = [(audio, "bert") for audio in AUDIO_FAMILIES] + [("wav2vec2", text) for text in TEXT_FAMILIES[1:]]
families = pytest.mark.parametrize(("audio", "text"), FAMILIES, ids=["-".join(family) for family in FAMILIES])
CLIPS = [synthetic_speech(0.4, seed=1), synthetic_speech(1.1, seed=2), None, synthetic_speech(0.9, seed=3)]
TEXTS = ["hello you", None, "i am so very sad", "kids are talking by the door"]
LABELS = torch.tensor([0, 1, 2, 0])
RENAMED = "activation_checkpointing" in TrainingArguments.__dataclass_fields__  # in 5.2x
CHECKPOINTING = "activation_checkpointing" if RENAMED else "gradient_checkpointing"


def batch_of(audio="wav2vec2", text="bert", clips=CLIPS, texts=TEXTS):
    processor = tiny_model(audio, text).processor if text != "bert" else tiny_processor(audio)
    return processor(audio=clips, text=texts, sampling_rate=16000)


def run(model, batch=None, **options):
    batch = batch_of() if batch is None else batch
    with torch.no_grad():
        return model(**batch, **options)


def without_dropout(**fields):
    """Configuration of a model that gives the same in training as outside it."""
    config = tiny_config(modality_dropout=0.0, fusion_dropout=0.0, **fields)
    for branch in (config.audio_config, config.text_config):
        for name in [name for name in branch.to_dict() if "dropout" in name or name.endswith("_drop")]:
            if isinstance(getattr(branch, name), float):
                setattr(branch, name, 0.0)
    config.audio_config.apply_spec_augment = False
    return config


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    model.save_pretrained(folder)
    return folder


# saving, loading, initialising


@families
def test_save_load(audio, text, tmp_path):
    model, batch = tiny_model(audio, text), batch_of(audio, text)
    model.save_pretrained(tmp_path / "one")
    again = AutoModelForAudioClassification.from_pretrained(tmp_path / "one")
    assert torch.equal(run(again, batch).logits, run(model, batch).logits)
    again.save_pretrained(tmp_path / "two", max_shard_size="100KB")  # in several files
    assert len(list((tmp_path / "two").glob("*.safetensors"))) > 1
    shards = {
        name: value for path in (tmp_path / "two").glob("*.safetensors") for name, value in load_file(path).items()
    }
    whole = load_file(tmp_path / "one" / "model.safetensors")
    assert shards.keys() == whole.keys() and all(torch.equal(shards[name], value) for name, value in whole.items())
    headless = AutoModel.from_pretrained(tmp_path / "two")
    assert torch.equal(run(headless, batch).embeddings, run(model, batch).embeddings)


@families
def test_determinism(audio, text):
    model, batch = tiny_model(audio, text), batch_of(audio, text)
    assert torch.equal(run(model, batch).logits, run(model, batch).logits)
    model.train()
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        np.random.seed(seed)  # SpecAugment of wav2vec2 and its kin draws from numpy
        drawn.append(run(model, batch).logits)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


@families
def test_every_weight_that_a_checkpoint_lacks_is_initialised(audio, text, tmp_path):
    torch.manual_seed(0)
    built = MultimodalEmotionClassifier(tiny_config(audio, text))
    built.config.architectures = ["MultimodalEmotionClassifier"]
    built.config.save_pretrained(tmp_path)
    save_file({"nothing.of.use": torch.zeros(1)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    bare = super(MultimodalEmotionPreTrainedModel, MultimodalEmotionClassifier)  # ours would refuse it, by name
    loaded, info = bare.from_pretrained(tmp_path, output_loading_info=True)
    state = built.state_dict()
    assert info["missing_keys"] >= {name for name, _ in loaded.named_parameters()}
    for name, value in loaded.state_dict().items():
        if (
            "pos_conv_embed.conv.parametrizations" in name
        ):  # transformers leaves these as they lay in memory, in its own wav2vec2 too
            continue
        assert torch.isfinite(value).all(), name
        if name.endswith("audio_branch.encoder.embed_positions.weight"):
            torch.testing.assert_close(value, sinusoids(*value.shape))
            continue
        expected = state[name].float()
        if expected.numel() < 2 or expected.std() == 0:  # norms, biases, gates, what is measured later
            torch.testing.assert_close(value.float(), expected, msg=name)
        elif expected.numel() > 400:
            assert 0.8 < value.float().std() / expected.std() < 1.25, name


def test_no_other_number_of_labels_by_the_way(folder):
    """transformers would start a random head, with a warning in a log."""
    with pytest.raises(ValueError, match=r"classifier\.weight \(\(3, 32\) instead of \(7, 32\)\).*labels="):
        AutoModelForAudioClassification.from_pretrained(folder, num_labels=7, ignore_mismatched_sizes=True)


def test_problem_type():
    """The loss follows the labels that are given; what would have no effect is refused."""
    assert (
        run(MultimodalEmotionClassifier(tiny_config(problem_type="single_label_classification")), labels=LABELS).loss
        > 0
    )
    for other in ("multi_label_classification", "regression"):
        with pytest.raises(
            ValueError, match=f"problem_type: expected None or 'single_label_classification', got '{other}'"
        ):
            MultimodalEmotionClassifier(tiny_config(problem_type=other))


# outputs


@families
def test_outputs_as_a_tuple_are_the_same(audio, text):
    model, batch = tiny_model(audio, text, dimensions=["arousal"]), batch_of(audio, text)
    for each, options in ((model, {"labels": LABELS}), (model.model, {})):
        options |= {"output_attentions": True, "output_hidden_states": True}
        output, as_tuple = run(each, batch, **options), run(each, batch, return_dict=False, **options)
        assert isinstance(as_tuple, tuple) and len(as_tuple) == len(output)
        for ours, theirs in zip(output.to_tuple(), as_tuple, strict=True):
            pairs = [(ours, theirs)] if isinstance(ours, torch.Tensor) else list(zip(ours, theirs, strict=True))
            assert pairs and all(torch.equal(*pair) for pair in pairs)


@families
def test_hidden_states(audio, text):
    model, batch = tiny_model(audio, text), batch_of(audio, text)
    plain, output = run(model, batch), run(model, batch, output_hidden_states=True)
    assert plain.fused_audio_hidden_states is None and torch.equal(plain.logits, output.logits)
    states, frame_mask = model.model.get_audio_features(
        batch[model.processor.model_input_names[0]], batch["audio_attention_mask"]
    )
    frames, tokens = frame_mask.shape[1], batch["input_ids"].shape[1]
    for given, length in ((output.fused_audio_hidden_states, frames), (output.fused_text_hidden_states, tokens)):
        assert [tuple(each.shape) for each in given] == [(4, length, 32)] * (model.config.fusion_layers + 1)
        assert all(not torch.equal(before, after) for before, after in itertools.pairwise(given))
    branch = model.model.audio_branch
    with torch.no_grad():
        torch.testing.assert_close(output.fused_audio_hidden_states[0][0], branch(states, frame_mask)[0])
    assert states.shape[1] == model.config.audio_config.num_hidden_layers + 1
    configured = copy.deepcopy(model)
    configured.config.output_hidden_states = True
    assert len(run(configured, batch).fused_text_hidden_states) == model.config.fusion_layers + 1


@families
def test_attentions(audio, text):
    model, batch = tiny_model(audio, text), batch_of(audio, text)
    expected = run(model, batch).logits
    assert run(model, batch).audio_attentions is None
    model.set_attn_implementation(
        {"": "eager"}
    )  # transformers refuses the setting beside sdpa; a single call may ask for them all the same
    model.config.output_attentions = True
    output = run(model, batch)
    assert len(output.audio_attentions) == len(output.text_attentions) == model.config.fusion_layers
    torch.testing.assert_close(output.audio_attentions[0].sum(-1), torch.ones(output.audio_attentions[0].shape[:3]))
    torch.testing.assert_close(output.logits, expected, atol=1e-5, rtol=1e-5)


@families
def test_batching_equivalence(audio, text):
    """Every output of a row, not only its logits, is the same alone and in a batch."""
    model, batch = tiny_model(audio, text), batch_of(audio, text)
    together = run(model, batch, output_hidden_states=True)
    for row, (clip, words) in enumerate(zip(CLIPS, TEXTS, strict=True)):
        single = batch_of(audio, text, None if clip is None else [clip], None if words is None else [words])
        alone = run(model, single, output_hidden_states=True)
        for name in ("embeddings", "gates", "logits"):
            torch.testing.assert_close(alone[name][0], together[name][row], atol=1e-4, rtol=1e-4)
        for name in ("fused_audio_hidden_states", "fused_text_hidden_states"):
            if (clip if "audio" in name else words) is not None:
                mask = single["audio_attention_mask" if "audio" in name else "attention_mask"]
                true = alone[name][-1].shape[1] if "audio" in name else int(mask.sum())
                torch.testing.assert_close(
                    alone[name][-1][0, :true], together[name][-1][row, :true], atol=1e-4, rtol=1e-4
                )


def test_retain_grad_hidden_states_attentions(model):
    model = copy.deepcopy(model)
    output = model(**batch_of(), output_hidden_states=True, output_attentions=True)
    inner = [
        *output.fused_audio_hidden_states,
        *output.fused_text_hidden_states,
        *output.audio_attentions,
        *output.text_attentions,
    ]
    for each in inner:
        each.retain_grad()
    output.logits.sum().backward()
    assert all(each.grad is not None for each in inner)


@pytest.mark.parametrize("audio", ["wav2vec2", "whisper_audio_encoder", "wav2vec2-bert"])
def test_inputs_of_another_shape_are_told(audio):
    model, batch = tiny_model(audio), batch_of(audio)
    name = model.main_input_name  # Trainer looks for it in a batch
    assert name in batch and name == model.model.main_input_name
    wrong = torch.zeros(1, 80, 100) if name == "input_values" else torch.zeros(1, 16000)
    for given in (wrong, torch.zeros(16000)):
        with pytest.raises(ValueError, match=rf"{name}: expected \(B, .*got \({given.shape[0]}"):
            model(input_values=given)
    with pytest.raises(ValueError, match=r"audio_attention_mask: expected \(4, \d+\), got \(4, 10\)"):
        model(**{name: batch[name]}, audio_attention_mask=torch.ones(4, 10))
    with pytest.raises(
        ValueError, match=r"labels: expected class indices \(B,\).*got \(1,\)"
    ):  # one for four would be taken for each
        model(**batch, labels=LABELS[:1])


# embeddings


@pytest.mark.parametrize("text", TEXT_FAMILIES)
def test_resized_token_embeddings(text, tmp_path):
    model, batch = tiny_model("wav2vec2", text), batch_of("wav2vec2", text)
    before, size = run(model, batch).logits, model.get_input_embeddings().num_embeddings
    model.resize_token_embeddings(size + 9, mean_resizing=False)
    assert model.get_input_embeddings().num_embeddings == model.config.text_config.vocab_size == size + 9
    assert torch.equal(run(model, batch).logits, before)
    model.save_pretrained(tmp_path)
    again = MultimodalEmotionClassifier.from_pretrained(tmp_path)
    assert again.get_input_embeddings().num_embeddings == size + 9 and torch.equal(run(again, batch).logits, before)
    other = torch.nn.Embedding.from_pretrained(torch.zeros(size + 9, 32))
    again.set_input_embeddings(other)
    assert again.get_input_embeddings() is other and not torch.equal(run(again, batch).logits, before)


# training


@pytest.mark.parametrize("audio", AUDIO_FAMILIES)
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(audio, reentrant):
    if audio == "wavlm" and reentrant:
        pytest.skip(
            "transformers' WavLM calls itself on the way back, without an end: its layers hand on a position bias by name"
        )
    torch.manual_seed(0)
    model = MultimodalEmotionClassifier(without_dropout(audio=audio)).train()
    batch, gradients = batch_of(audio), []
    for checkpointing in (False, True):
        if checkpointing:
            getattr(model, f"{CHECKPOINTING}_enable")({"use_reentrant": reentrant})
            run_again = []
            hook = model.model.fusion_layers[0].audio_to_text.register_forward_hook(
                lambda *_, seen=run_again: seen.append(1)
            )
        model.zero_grad()
        model(**batch, labels=LABELS).loss.backward()
        gradients.append(
            {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
        )
    hook.remove()
    assert len(run_again) == 2  # forward, and once more on the way back
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("reentrant", [False, True])
def test_enable_input_require_grads(reentrant):
    """What peft asks for beside checkpointing: gradients pass frozen encoders, with both modalities and with words alone."""
    model = MultimodalEmotionClassifier(without_dropout()).train().requires_grad_(False)
    model.enable_input_require_grads()
    getattr(model, f"{CHECKPOINTING}_enable")({"use_reentrant": reentrant})
    trained = model.model.text_branch.encoder.encoder.layer[0].attention.self.query.weight.requires_grad_(True)
    for batch, labels in ((batch_of(), LABELS), (batch_of(clips=None), LABELS)):
        trained.grad = None
        model(**batch, labels=labels).loss.backward()
        assert trained.grad.abs().sum() > 0


def test_trainer_in_half_precision_and_by_length(tmp_path):
    datasets = pytest.importorskip("datasets")
    by_length = "train_sampling_strategy" in TrainingArguments.__dataclass_fields__  # in 5.x
    rows = [
        {"audio": synthetic_speech(0.2 + 0.1 * i, seed=i).tolist(), "text": "hello you", "label": i % 3, "length": i}
        for i in range(6)
    ]
    data = datasets.Dataset.from_list(rows)
    for model, options in (
        (tiny_model("whisper_audio_encoder"), {"bf16": True}),
        (tiny_model().to(torch.bfloat16), {"bf16_full_eval": True}),
    ):
        processor = model.processor

        def collate(batch, processor=processor):
            inputs = processor(
                audio=[np.float32(row["audio"]) for row in batch],
                text=[row["text"] for row in batch],
                sampling_rate=16000,
            )
            return {**inputs, "labels": torch.tensor([row["label"] for row in batch])}

        arguments = TrainingArguments(
            tmp_path, max_steps=2, per_device_train_batch_size=3, remove_unused_columns=False, report_to="none", use_cpu=True, disable_tqdm=True,
            save_strategy="no", include_for_metrics=["inputs"], **options,
            **({"train_sampling_strategy": "group_by_length"} if by_length else {"group_by_length": True}),
        )  # fmt: skip
        trainer = Trainer(
            model, arguments, data_collator=collate, train_dataset=data, eval_dataset=data,
            compute_metrics=lambda answers: {"seen": len(answers.inputs), "logits": answers.predictions.shape[1]},
        )  # fmt: skip
        assert np.isfinite(trainer.train().training_loss)
        figures = trainer.evaluate()
        assert figures["eval_seen"] == 6 and figures["eval_logits"] == 3 and np.isfinite(figures["eval_loss"])


def test_trainer_from_training_to_prediction(tmp_path):
    """Rows, transformers' own Trainer, our processor as the collator: evaluate, predict, keep the best, load it."""
    torch.manual_seed(0)
    model = tiny_model()
    rows = [
        {"audio": synthetic_speech(0.5, seed=i, pitch=100 + 60 * (i % 3)), "text": TEXTS[i % 4], "label": i % 3}
        for i in range(9)
    ]

    def collate(batch):
        inputs = model.processor(
            audio=[row["audio"] for row in batch], text=[row["text"] for row in batch], sampling_rate=16000
        )
        return {**inputs, "labels": torch.tensor([row["label"] for row in batch])}

    arguments = TrainingArguments(
        tmp_path / "run", num_train_epochs=4, per_device_train_batch_size=3, per_device_eval_batch_size=4, learning_rate=3e-3,
        eval_strategy="epoch", save_strategy="epoch",
        load_best_model_at_end=True, metric_for_best_model="recall", save_total_limit=1, remove_unused_columns=False, report_to="none",
        use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False, push_to_hub=False, seed=0,
        **{CHECKPOINTING: True, f"{CHECKPOINTING}_kwargs": {"use_reentrant": False}},
    )  # fmt: skip
    trainer = Trainer(
        model, arguments, data_collator=collate, train_dataset=rows, eval_dataset=rows, processing_class=model.processor,
        compute_metrics=lambda answers: {"recall": float((answers.predictions.argmax(-1) == answers.label_ids).mean())},
    )  # fmt: skip
    start = trainer.evaluate()
    trainer.train()
    figures = trainer.evaluate()
    assert figures["eval_loss"] < start["eval_loss"] and figures["eval_recall"] == trainer.state.best_metric
    answers = trainer.predict(rows)
    assert answers.predictions.shape == (9, 3) and answers.metrics["test_recall"] == figures["eval_recall"]
    best = MultimodalEmotionClassifier.from_pretrained(trainer.state.best_model_checkpoint)
    assert torch.equal(run(best).logits, run(model.eval()).logits)
    trainer.save_model(tmp_path / "saved")
    saved = MultimodalEmotionClassifier.from_pretrained(tmp_path / "saved")
    alone = saved.predict(rows[0]["audio"], text=rows[0]["text"], sampling_rate=16000).probabilities
    assert list(alone.values()) == pytest.approx(torch.tensor(answers.predictions[0]).softmax(-1).tolist(), abs=1e-4)
    arguments = copy.copy(arguments)
    arguments.num_train_epochs = 5
    again = Trainer(tiny_model(), arguments, data_collator=collate, train_dataset=rows, eval_dataset=rows)
    again.compute_metrics = trainer.compute_metrics
    again.train(resume_from_checkpoint=True)
    assert again.state.epoch == 5


# where the weights lie


def test_device_map_of_one_device(model, folder):
    for device_map in ("auto", "cpu", {"": "cpu"}, torch.device("cpu")):
        loaded = AutoModelForAudioClassification.from_pretrained(folder, device_map=device_map)
        assert {parameter.device.type for parameter in loaded.parameters()} == {"cpu"}
        assert torch.equal(run(loaded).logits, run(model).logits)


@pytest.mark.parametrize(
    ("audio", "text"), [("wav2vec2", "bert"), ("data2vec-audio", "t5"), ("wav2vec2-bert", "qwen2")]
)
def test_what_does_not_fit_into_memory_lies_on_disk(audio, text, tmp_path):
    """Weights are fetched where a module's `forward` is called: branches that read them otherwise have to stay in memory (docs)."""
    model, batch = tiny_model(audio, text), batch_of(audio, text)
    model.save_pretrained(tmp_path / "model")
    size = sum(4 * value.numel() for value in model.model.audio_branch.state_dict().values())
    sound = {name: value for name, value in batch.items() if name not in ("input_ids", "attention_mask")}
    for room in (1, 2 * size):
        loaded = AutoModelForAudioClassification.from_pretrained(
            tmp_path / "model", device_map="auto", max_memory={"cpu": room}, offload_folder=tmp_path / f"offload{room}"
        )
        assert "disk" in loaded.hf_device_map.values() and (room == 1 or "cpu" in loaded.hf_device_map.values())
        for given in (batch, sound):
            ours, theirs = run(loaded, given, output_hidden_states=True), run(model, given, output_hidden_states=True)
            assert torch.equal(ours.logits, theirs.logits)
            assert torch.equal(ours.fused_text_hidden_states[-1], theirs.fused_text_hidden_states[-1])


def test_a_device_map_by_name(model, folder, tmp_path):
    parts = {f"model.{name}": "cpu" for name, _ in model.model.named_children()} | {
        "model.missing_audio": "cpu",
        "model.missing_text": "cpu",
    }
    parts |= {
        "model.text_branch": "disk",
        "model.fusion_layers": "disk",
        "norm": "cpu",
        "dropout": "cpu",
        "classifier": "disk",
    }
    loaded = AutoModelForAudioClassification.from_pretrained(folder, device_map=parts, offload_folder=tmp_path)
    assert (
        next(loaded.model.text_branch.parameters()).is_meta and not next(loaded.model.audio_branch.parameters()).is_meta
    )
    assert torch.equal(run(loaded).logits, run(model).logits)
    long = tiny_processor()(
        text=[" ".join(["so very sad"] * 40), "hello"], audio=None
    )  # windows, whose weights are added up
    assert torch.equal(run(loaded, long).logits, run(model, long).logits)


def test_big_model_loading_of_accelerate(model, folder, tmp_path):
    from accelerate import init_empty_weights, load_checkpoint_and_dispatch

    expected = run(model).logits
    for options in ({}, {"max_memory": {"cpu": 150_000}, "offload_folder": tmp_path}):
        with init_empty_weights():
            empty = MultimodalEmotionClassifier(model.config)
        assert all(parameter.is_meta for name, parameter in empty.named_parameters() if "masked_spec_embed" not in name)
        whole = list(empty._no_split_modules)
        loaded = load_checkpoint_and_dispatch(
            empty, folder, device_map="auto", no_split_module_classes=whole, **options
        ).eval()
        assert ("disk" in loaded.hf_device_map.values()) == bool(options)
        assert torch.equal(run(loaded).logits, expected)


def test_branches_on_two_devices(monkeypatch):
    """As far as it shows without two of them: torch's fake tensors know their devices and refuse to mix, and hold no numbers."""
    import accelerate.hooks
    from torch._subclasses.fake_tensor import FakeTensorMode

    monkeypatch.setattr(accelerate.hooks, "set_module_tensor_to_device", lambda *_, **__: None)  # they are placed below
    monkeypatch.setattr(modeling_branches, "_is_padded_left", lambda mask: False)  # it asks for numbers
    batches = [batch_of(texts=texts) for texts in (TEXTS, [" ".join(["so very sad"] * 40)] * 4)]
    with FakeTensorMode() as mode:
        model = MultimodalEmotionClassifier(tiny_config()).eval()
        places = {f"model.{name}": "cuda:1" for name, _ in model.model.named_children()} | {
            name: "cuda:1" for name, _ in model.named_children()
        }
        del places["model"], places["model.fusion_layers"]
        places |= {"model.audio_branch": "cuda:0", "model.missing_audio": "cuda:0", "model.missing_text": "cuda:0"}
        places |= {
            "model.fusion_layers.0": "cuda:0",
            "model.fusion_layers.1": "cuda:1",
            "model.audio_pooling": "cuda:0",
        }
        for prefix, module in model.named_modules():
            for store in (module._parameters, module._buffers):
                for name, value in store.items():
                    path = f"{prefix}.{name}".lstrip(".")
                    [device] = [
                        device for part, device in places.items() if path == part or path.startswith(f"{part}.")
                    ]
                    moved = value.detach().to(device)
                    store[name] = (
                        torch.nn.Parameter(moved, requires_grad=False) if store is module._parameters else moved
                    )
        accelerate.hooks.attach_align_device_hook_on_blocks(
            model, {**places, "": "cuda:0"}, dict.fromkeys(places, False)
        )
        for each in batches[:1]:
            batch = {name: mode.from_tensor(value) for name, value in each.items()}
            output = run(
                model, batch, labels=mode.from_tensor(LABELS), output_attentions=True, output_hidden_states=True
            )
            assert output.logits.shape == (4, 3) and output.loss.shape == ()


# in what precision


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.0), ("bfloat16", 0.05), ("float16", 0.01)])
@pytest.mark.parametrize("audio", ["wav2vec2", "wav2vec2-group", "whisper_audio_encoder"])
def test_precision(audio, dtype, tolerance, tmp_path):
    model, batch = tiny_model(audio), batch_of(audio)
    model.save_pretrained(tmp_path / "single")
    expected = run(model, batch).logits.softmax(-1)
    kind = getattr(torch, dtype)
    for given in (dtype, kind):
        loaded = AutoModelForAudioClassification.from_pretrained(tmp_path / "single", dtype=given)
        assert loaded.dtype == kind and {value.dtype for value in loaded.parameters()} == {kind}
        torch.testing.assert_close(run(loaded, batch).logits.float().softmax(-1), expected, atol=tolerance, rtol=0)
    cast = copy.deepcopy(model).to(kind)
    assert torch.equal(run(cast, batch).logits, run(loaded, batch).logits)
    cast.save_pretrained(tmp_path / "cast")
    assert AutoModelForAudioClassification.from_pretrained(tmp_path / "cast", dtype="auto").dtype == kind
    answer = cast.predict(CLIPS[1], sampling_rate=16000).probabilities
    assert list(answer.values()) == pytest.approx(expected[1].tolist(), abs=max(tolerance, 1e-4))


def test_int8_weights_by_torchao(model, folder, tmp_path):
    torchao = pytest.importorskip("torchao", reason="torchao is not installed")
    from torchao.quantization import Int8WeightOnlyConfig
    from transformers import TorchAoConfig, pipeline

    clips = [synthetic_speech(0.4 + 0.1 * i, seed=i, pitch=90 + 15 * i) for i in range(12)]
    batch = batch_of(clips=clips, texts=TEXTS * 3)
    expected = run(model, batch).logits
    options = {"quantization_config": TorchAoConfig(Int8WeightOnlyConfig())}
    quantised = AutoModelForAudioClassification.from_pretrained(folder, **options)
    assert type(quantised.model.text_branch.projection.weight).__name__ == "Int8Tensor", torchao.__version__
    got = run(quantised, batch).logits
    assert torch.equal(got.argmax(-1), expected.argmax(-1)) and not torch.equal(got, expected)
    torch.testing.assert_close(got.softmax(-1), expected.softmax(-1), atol=0.03, rtol=0)
    answer = pipeline("speech-emotion-recognition", model=str(folder), model_kwargs=options)(clips[3])
    assert answer[0]["label"] == model.predict(clips[3], sampling_rate=16000).label
    quantised.save_pretrained(tmp_path)
    again = MultimodalEmotionClassifier.from_pretrained(tmp_path)
    assert torch.equal(run(again, batch).logits, got)
    assert (tmp_path / "model.safetensors").stat().st_size < 0.75 * (folder / "model.safetensors").stat().st_size


@pytest.mark.filterwarnings(
    "ignore:torch.ao.quantization is deprecated:DeprecationWarning", "ignore:torch.quantize_per_tensor:UserWarning"
)
def test_int8_weights_by_torch(model):
    """torch's own quantize_dynamic, which torchao takes the place of."""
    batch = batch_of()
    expected = run(model, batch).logits.softmax(-1)
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {torch.nn.Linear}, dtype=torch.qint8)
    got = run(quantised, batch).logits.softmax(-1)
    assert not torch.equal(got, expected)
    torch.testing.assert_close(got, expected, atol=0.05, rtol=0)


# how it is computed


@pytest.mark.parametrize(
    ("asked", "got"),
    [
        ("eager", ("eager", "eager", "eager")), ("sdpa", ("sdpa", "sdpa", "sdpa")), ({"audio_config": "eager"}, ("sdpa", "eager", "sdpa")),
        ({"": "eager", "text_config": "sdpa"}, ("eager", "sdpa", "sdpa")), ({"": "sdpa", "text_config": "eager"}, ("sdpa", "sdpa", "eager")),
    ],
)  # fmt: skip
def test_attention_of_each_part(model, folder, asked, got):
    later = MultimodalEmotionClassifier.from_pretrained(folder)
    later.set_attn_implementation(asked)
    for each in (AutoModelForAudioClassification.from_pretrained(folder, attn_implementation=asked), later):
        configs = (each.config, each.config.audio_config, each.config.text_config)
        assert tuple(config._attn_implementation for config in configs) == got
        torch.testing.assert_close(run(each).logits, run(model).logits, atol=1e-5, rtol=1e-5)


def test_attention_that_it_does_not_have_is_refused(folder):
    for asked in ("flex_attention", "flash_attention_2"):
        with pytest.raises((ValueError, ImportError), match=r"flex_attention|[Ff]lash"):
            AutoModelForAudioClassification.from_pretrained(folder, attn_implementation=asked)


@pytest.mark.parametrize(("audio", "text"), [("wav2vec2", "bert"), ("whisper_audio_encoder", "qwen2")])
def test_torch_compile(audio, text):
    model, batch = tiny_model(audio, text), batch_of(audio, text)
    expected = run(
        model, batch
    ).logits  # the first call installs transformers' hooks, behind a lock, which no whole graph holds
    torch.compiler.reset()
    compiled = torch.compile(
        model, backend="eager", fullgraph=True
    )  # what is traced; inductor, which a user takes, is a minute of gcc
    try:
        torch.testing.assert_close(run(compiled, batch).logits, expected, atol=1e-4, rtol=0)
    finally:
        torch.compiler.reset()
