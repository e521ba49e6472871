"""ONNX and torch.export: graphs give what the model gives, and are run without PyTorch."""

import dataclasses
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from multimodal_ser import InputError, MultimodalEmotionClassifier, SpeakerProfile, load_audio
from multimodal_ser.cli import main
from multimodal_ser.export import onnx_runtime as onnx_module
from multimodal_ser.export.onnx_runtime import Features, OnnxEmotionClassifier, OnnxGraph
from multimodal_ser.model.processing_multimodal_ser import trimmed
from multimodal_ser.testing import synthetic_speech, tiny_config, tiny_model, tiny_processor

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason='pip install "multimodal_ser[onnx]"')
from multimodal_ser.export import onnx_export as exports  # noqa: E402 - it needs them
from multimodal_ser.export.onnx_export import export_onnx, export_torch, quantize  # noqa: E402

RATE = {"sampling_rate": 16_000}
SPEECH = [synthetic_speech(seconds, seed=seed) for seed, seconds in enumerate((0.03, 1.0, 2.6, 0.7))]
ITEMS = [
    {"audio": SPEECH[0], "text": "hello you"}, {"audio": SPEECH[1]}, {"text": "we are not so happy"}, {"audio": SPEECH[2], "text": "she is very sad"},
    {"audio": SPEECH[3], "text": "dogs are sitting by the door", "context": ["kids are talking", "so"]}, {"text": "you"},
]  # fmt: skip


def slim(audio, text="bert", **fields):
    """A model of one layer each: an export takes as long as its graph has nodes."""
    config = tiny_config(audio, text, fusion_layers=1, **fields)
    config.audio_config.num_hidden_layers = config.text_config.num_hidden_layers = 1
    torch.manual_seed(0)
    model = MultimodalEmotionClassifier(config)
    with torch.no_grad():
        model.classifier.weight.normal_(std=0.5)
    model.processor, model.transcriber = tiny_processor(audio, text), None
    return model.eval()


def agree(wanted, got, tolerance=1e-4):
    assert len(wanted) == len(got)
    for a, b in zip(wanted, got, strict=True):
        assert (a.label, a.modalities, a.duration, a.windows, a.notes) == (
            b.label,
            b.modalities,
            b.duration,
            b.windows,
            b.notes,
        )
        assert b.probabilities == pytest.approx(a.probabilities, abs=tolerance)


def same_answers(model, exported, items=ITEMS):
    """All at once, in batches with missing modalities, and one by one."""
    wanted = list(model.predict_iter(items, **RATE))
    agree(wanted, list(exported.predict_iter(items, **RATE)))
    agree(wanted, list(exported.predict_iter(items, batch_size=1, **RATE)))


@pytest.fixture(scope="module")
def shipped():
    return MultimodalEmotionClassifier.from_pretrained(whisper=None)


@pytest.fixture(scope="module")
def folder(shipped, tmp_path_factory):
    """The shipped checkpoint: its graph that takes all, in fp32 and in int8."""
    folder = export_onnx(shipped, tmp_path_factory.mktemp("shipped"), modalities=["both"])
    quantize(folder / "model.onnx")
    return folder


@pytest.fixture(scope="module")
def whisper_model():
    fields = {"temperature": {"both": 2.0, "audio": 0.5, "text": 3.0}, "dimensions": ["arousal"]}
    return slim("whisper_audio_encoder", "distilbert", **fields)


@pytest.fixture(scope="module")
def whisper_folder(whisper_model, tmp_path_factory):
    """The graphs of one modality each of another architecture, by the command line."""
    checkpoint, folder = tmp_path_factory.mktemp("checkpoint"), tmp_path_factory.mktemp("graphs")
    whisper_model.save_pretrained(checkpoint)
    whisper_model.processor.save_pretrained(checkpoint)
    command = ["export", "onnx", "--model", str(checkpoint), "--modalities", "audio", "text", "--output-dir"]
    before = (checkpoint / "config.json").read_bytes()
    assert main([*command, str(checkpoint)]) == 2  # a checkpoint keeps its card and its configuration
    assert (checkpoint / "config.json").read_bytes() == before and not list(checkpoint.glob("*.onnx"))
    assert main([*command, str(folder)]) == 0
    return folder


def test_shipped_checkpoint(shipped, folder):
    assert {path.name for path in folder.iterdir()} == {
        "model.onnx", "model_int8.onnx", "config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json", "README.md",
    }  # fmt: skip
    exported = OnnxEmotionClassifier.from_pretrained(folder, whisper=None)
    assert exported.labels == shipped.labels
    same_answers(shipped, exported)
    long = {
        "audio": np.concatenate(
            [synthetic_speech(13.0, seed=1), np.zeros(8000, np.float32), synthetic_speech(21.0, seed=2)]
        )
    }
    words = {
        "text": "I am so very happy that we won this game today. " * 130
    }  # more than the text encoder holds at once
    agree(
        [shipped.predict(**long, **RATE), shipped.predict(**words)],
        [exported.predict(**long, **RATE), exported.predict(**words)],
    )
    options = {"label_set": "ekman", "abstain_below": 0.99, "on_error": "skip"}
    wanted, got = (
        model.predict([SPEECH[1], b"no audio"], ["so happy", None], **options, **RATE) for model in (shipped, exported)
    )
    agree(wanted[:1], got[:1])
    assert (
        got[0].abstained
        and got[0].label_set == "ekman"
        and str(wanted[1]) == str(got[1])
        and isinstance(got[1], InputError)
    )


def test_a_whisper_encoder_with_temperatures_and_dimensions(whisper_model, whisper_folder):
    exported = OnnxEmotionClassifier.from_pretrained(whisper_folder, whisper=None)
    assert set(exported.graphs) == {"audio", "text"}
    assert exported.config.temperature["text"] == 3.0
    same_answers(whisper_model, exported, [item for item in ITEMS if len(item) == 1])  # each by its own graph
    with pytest.raises(InputError, match=r"an export with model\.onnx"):
        exported.predict(SPEECH[1], "hello", **RATE)
    for form, inputs in (("audio", {"audio": [SPEECH[2]]}), ("text", {"text": ["so happy"]})):
        batch = whisper_model.processor(**inputs, **RATE)
        with torch.no_grad():
            wanted = whisper_model(**batch)
        got = exported.graphs[form]({name: value.numpy() for name, value in batch.items()})
        for name in ("logits", "embeddings", "dimensions"):
            np.testing.assert_allclose(got[name], wanted[name].numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("audio", "text", "form", "fields"),
    [
        ("wav2vec2-group", "roberta", "both", {"combination": "concatenated", "dimensions": ["arousal"]}),
        ("wavlm", "bert", "audio", {"temperature": {"both": 2.0, "audio": 0.5, "text": 3.0}}),
        ("wav2vec2-bert", "bert", "audio", {}),
    ],
)
def test_families(audio, text, form, fields, tmp_path):
    model = slim(audio, text, **fields)
    exported = OnnxEmotionClassifier.from_pretrained(export_onnx(model, tmp_path, modalities=[form]), whisper=None)
    if form == "both":
        same_answers(model, exported)
        return
    agree(
        model.predict(SPEECH, modalities="audio", **RATE), exported.predict(SPEECH, **RATE)
    )  # "auto" knows what there is a graph for
    with pytest.raises(InputError, match="expected a recording"):
        exported.predict(text="hello")


def test_rows_that_cannot_share_a_batch_run_alone(tmp_path, monkeypatch):
    model = slim("hubert")
    model.model.audio_branch.batched = False  # as for families whose padding changes their neighbours
    # and as for large models, whose weights lie beside their graph
    monkeypatch.setattr("torch.onnx._internal.exporter._onnx_program._LARGE_MODEL_THRESHOLD", 1000)
    exported = OnnxEmotionClassifier.from_pretrained(export_onnx(model, tmp_path, modalities="audio"), whisper=None)
    assert not exported.graphs["audio"].batched and (tmp_path / "model_audio.onnx.data").exists()
    assert exported.graphs["audio"].shapes["input_values"][0] == 1
    agree(model.predict(SPEECH[1:], modalities="audio", **RATE), exported.predict(SPEECH[1:], **RATE))
    assert quantize(tmp_path / "model_audio.onnx").exists()
    int8 = OnnxEmotionClassifier.from_pretrained(tmp_path, int8=True)
    agree(model.predict(SPEECH[1:], modalities="audio", **RATE), int8.predict(SPEECH[1:], **RATE), 0.1)
    model.model.audio_branch.batched = True  # one that can be exported quickly, and is another model by its weights
    with torch.no_grad():
        model.classifier.bias += 1
    with pytest.raises(InputError, match=r"model_audio\.onnx, model_audio_int8\.onnx of another model"):
        export_onnx(model, tmp_path, modalities="text")


def test_a_graph_that_is_off_is_refused(tmp_path, monkeypatch):
    model = tiny_model()

    def graph_of_another(_model, form, path):
        path.write_bytes(b"")

    def run(_self, inputs):
        with torch.no_grad():
            return {"logits": model(**inputs).logits.numpy() + 2e-4}

    monkeypatch.setattr(exports, "_write_graph", graph_of_another)
    monkeypatch.setattr(exports._OnnxOutputs, "__init__", lambda _self, _path: None)
    monkeypatch.setattr(exports._OnnxOutputs, "__call__", run)
    with pytest.raises(InputError, match=r"within 0\.0001 of the model's, got 0\.0002"):
        export_onnx(model, tmp_path)
    assert not list(tmp_path.glob("**/*.onnx"))


def test_what_cannot_be_exported_is_told(tmp_path, capsys):
    with pytest.raises(InputError, match="float32 on the CPU, got bfloat16"):
        export_onnx(tiny_model().bfloat16(), tmp_path)
    with pytest.raises(InputError, match="some of both, audio, text"):
        export_onnx(tiny_model(), tmp_path, modalities=["audio", "video"])
    model = tiny_model()
    model.processor.feature_extractor.to_dict = lambda: {"feature_extractor_type": "AnotherFeatureExtractor"}
    with pytest.raises(InputError, match="run in PyTorch alone"):
        export_onnx(model, tmp_path)
    assert main(["export", "torch", "--int8", "--output-dir", str(tmp_path)]) == 2
    assert "export onnx" in capsys.readouterr().err


def test_graphs_of_two_models_in_one_folder_are_told(folder, whisper_folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "model_text.onnx").symlink_to(whisper_folder / "model_text.onnx")
    with pytest.raises(InputError, match=r"graphs of several: model\.onnx, model_text\.onnx"):
        OnnxEmotionClassifier.from_pretrained(tmp_path)


def test_the_command_line_runs_exports(shipped, folder, tmp_path, capsys):
    import soundfile

    soundfile.write(clip := tmp_path / "clip.wav", SPEECH[1], 16_000, subtype="FLOAT")
    command = ["predict", str(clip), "--model", str(folder), "--format", "json", "--text", "so happy"]
    for options, tolerance in (
        ([], 1e-4),
        (["--dtype", "int8", "--device", "cpu", "--cache-dir", str(tmp_path)], 0.03),
    ):
        assert main([*command, *options]) == 0
        [answer] = json.loads(capsys.readouterr().out)
        assert answer["probabilities"] == pytest.approx(
            shipped.predict(clip, text="so happy").probabilities, abs=tolerance
        )
    for wrong, told in (
        ([*command, "--dtype", "bfloat16"], "float32 or int8 of an export to ONNX, got bfloat16"),
        ([*command, "--device", "cuda"], "cpu of an export to ONNX, got cuda"),
        ([*command[:2], "--dtype", "int8", "--text", "hello"], "multimodal-ser export onnx --int8"),
        (["info", "--model", str(folder)], "only predict runs exports"),
    ):
        assert main(wrong) == 2
        assert told in capsys.readouterr().err


def test_what_is_no_export_is_told(tmp_path, folder):
    with pytest.raises(InputError, match="nothing there"):
        OnnxEmotionClassifier.from_pretrained(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"no model_int8\.onnx"):
        OnnxEmotionClassifier.from_pretrained(tmp_path, int8=True)
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(InputError, match="a graph that export_onnx wrote"):
        OnnxEmotionClassifier.from_pretrained(tmp_path)


@pytest.mark.parametrize("audio", ["wav2vec2", "whisper_audio_encoder", "wav2vec2-bert"])
def test_features_are_those_of_the_processor(audio, tmp_path):
    processor = tiny_processor(audio)
    processor.trim_silence_db = 40.0
    processor.save_pretrained(tmp_path)
    if audio != "wav2vec2":
        np.save(tmp_path / "mel_filters.npy", processor.feature_extractor.mel_filters)
    quiet = np.zeros(6000, np.float32)
    waveforms = [np.concatenate([quiet, SPEECH[2], quiet]), None, SPEECH[1], quiet, SPEECH[0]]
    texts, context = ["hello world", None, "so very happy", "  ", None], [["dogs", None, "kids"], *[None] * 4]
    wanted = processor(audio=waveforms, text=texts, context=context, **RATE)
    got = Features.from_pretrained(tmp_path)(waveforms, texts, context)
    assert set(got) == set(wanted)
    for name, value in wanted.items():
        assert got[name].dtype == value.numpy().dtype
        # transformers takes its spectrogram in single precision where there is torch, and says itself that it is off by 1e-5
        np.testing.assert_allclose(got[name], value.numpy(), atol=5e-5 if name == "input_features" else 1e-5)
    if audio == "whisper_audio_encoder":
        heard = processor.feature_extractor._np_extract_fbank_features(trimmed(SPEECH[2], 40.0)[None], "cpu")[0]
        np.testing.assert_allclose(Features.from_pretrained(tmp_path).audio_features(SPEECH[2]), heard, atol=1e-5)
    np.testing.assert_array_equal(onnx_module._trimmed(waveforms[0], 40.0), trimmed(waveforms[0], 40.0))
    features = Features.from_pretrained(tmp_path)
    assert "input_ids" not in features(waveforms, [None] * 5)

    class Nothing:  # signs that no token stands for
        def encode(self, _text):
            return type("Encoding", (), {"ids": []})

    with pytest.raises(InputError, match="audio or text in at least one row"):
        dataclasses.replace(features, tokenizer=Nothing())(None, ["?"])


def test_a_speaker_is_known_to_both(shipped, folder, tmp_path):
    exported = OnnxEmotionClassifier.from_pretrained(folder, whisper=None)
    wanted, got = shipped.enroll(SPEECH[1:], **RATE), exported.enroll(SPEECH[1:], **RATE)
    assert (got.encoder, got.windows) == (wanted.encoder, wanted.windows)
    np.testing.assert_allclose(got.hidden_mean, wanted.hidden_mean.numpy(), atol=1e-3, rtol=1e-3)
    wanted.save(tmp_path / "torch.safetensors")
    got.save(tmp_path / "array.safetensors")
    predictions = [
        shipped.predict(SPEECH[1], speaker=wanted, **RATE), exported.predict(SPEECH[1], speaker=tmp_path / "torch.safetensors", **RATE),
        shipped.predict(SPEECH[1], speaker=tmp_path / "array.safetensors", **RATE), exported.predict(SPEECH[1], speaker=got, **RATE),
    ]  # fmt: skip
    predictions.append(shipped.predict(SPEECH[1], speaker=got, **RATE))  # without a file between them
    agree(predictions[:1] * 4, predictions[1:])
    assert predictions[0].probabilities != pytest.approx(shipped.predict(SPEECH[1], **RATE).probabilities, abs=1e-3)
    with pytest.raises(InputError, match="of another"):
        exported.predict(SPEECH[1], speaker=SpeakerProfile(got.hidden_mean, 1, "another"), **RATE)


def test_int8_is_smaller_and_near(shipped, folder):
    assert (folder / "model_int8.onnx").stat().st_size < 0.4 * (folder / "model.onnx").stat().st_size
    exported = OnnxEmotionClassifier.from_pretrained(folder, int8=True, whisper=None)
    for wanted, got in zip(shipped.predict_iter(ITEMS, **RATE), exported.predict_iter(ITEMS, **RATE), strict=True):
        assert got.probabilities == pytest.approx(wanted.probabilities, abs=0.03)
    agree(
        list(exported.predict_iter(ITEMS, **RATE)), list(exported.predict_iter(ITEMS, batch_size=1, **RATE)), 1e-5
    )  # whatever the company


def test_int8_keeps_the_labels_of_real_clips(shipped, folder, data):
    clips = [
        load_audio(path)
        for path in sorted((data / "ravdess" / "audio").glob("*-0[12]-15.flac"))
        + sorted((data / "ravdess" / "audio").glob("*-01-16.flac"))
    ]
    assert len(clips) > 60
    exported = OnnxEmotionClassifier.from_pretrained(folder, int8=True, whisper=None)
    wanted, got = (model.predict(clips, modalities="audio", **RATE) for model in (shipped, exported))
    assert np.mean([a.label == b.label for a, b in zip(wanted, got, strict=True)]) >= 0.99


def test_a_long_text_costs_its_neighbours_nothing(folder, shipped, monkeypatch):
    exported, sizes = OnnxEmotionClassifier.from_pretrained(folder, whisper=None), []
    session = exported.graphs["both"].session

    class Counted:
        def run(self, names, inputs):
            sizes.append(inputs["input_ids"].shape)
            return session.run(names, inputs)

    monkeypatch.setattr(exported.graphs["both"], "session", Counted())
    texts = [
        "so happy",
        "I am so very sad that we lost this game today. " * 60,
        "well",
        "I cannot wait to see you again",
    ]
    agree(shipped.predict(text=texts), exported.predict(text=texts))
    assert [rows for rows, _ in sizes] == [1, 3] and sizes[0][1] > 512 and sizes[1][1] < 20


def test_without_torch_and_transformers(shipped, folder, tmp_path):
    """A process in which they cannot be imported: every form of input, and what it says is what the model says."""
    import soundfile

    soundfile.write(tmp_path / "clip.wav", SPEECH[2], 16_000, subtype="FLOAT")
    script = """
        import json, sys
        class Forbidden:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("torch", "transformers", "torchaudio", "whisper"):
                    raise ModuleNotFoundError(f"{name} is forbidden here", name=name)
        sys.meta_path.insert(0, Forbidden())
        import numpy as np, soundfile
        from multimodal_ser.export.onnx_runtime import OnnxEmotionClassifier
        folder, clip = sys.argv[1:]
        classifier = OnnxEmotionClassifier.from_pretrained(folder, whisper=None)
        array, _ = soundfile.read(clip, dtype="float32")
        inputs = [clip, open(clip, "rb").read(), open(clip, "rb"), {"array": array, "sampling_rate": 16000}]
        predictions = classifier.predict(inputs, ["so happy"] * 4, label_set="ekman", language="en")
        predictions += [classifier.predict(array, sampling_rate=16000, speaker=classifier.enroll([clip])), classifier.predict(text="so sad")]
        predictions += classifier.predict([clip, "no such file.wav"], on_error="skip")
        print(json.dumps([p.to_dict() if hasattr(p, "to_dict") else str(p) for p in predictions]))
        assert not {"torch", "transformers"} & set(sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(folder), str(tmp_path / "clip.wav")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    clip = str(tmp_path / "clip.wav")
    with_words = shipped.predict(clip, text="so happy", label_set="ekman")
    known = shipped.predict(clip, speaker=shipped.enroll([clip]))
    for answer, wanted in zip(
        got[:7], [*[with_words] * 4, known, shipped.predict(text="so sad"), shipped.predict(clip)], strict=True
    ):
        assert answer["label"] == wanted.label and answer["modalities"] == list(wanted.modalities)
        assert answer["probabilities"] == pytest.approx(wanted.probabilities, abs=1e-4)
    assert "no such file.wav" in got[7]


def test_without_faster_whisper_it_goes_on_with_audio_alone(folder, monkeypatch):
    find_spec = onnx_module.importlib.util.find_spec
    monkeypatch.setattr(
        onnx_module.importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "faster_whisper" else find_spec(name, *rest),
    )
    monkeypatch.setitem(sys.modules, "faster_whisper.vad", None)
    exported = OnnxEmotionClassifier.from_pretrained(folder)
    with pytest.warns(UserWarning, match="pip install faster-whisper"):
        prediction = exported.predict(SPEECH[1], **RATE)
    assert prediction.modalities == ("audio",) and "no Whisper was found" in prediction.notes[0]
    with pytest.warns(UserWarning, match="pip install faster-whisper"):  # in every call
        missing, note = exported.predict(np.tile(SPEECH[2], 16), **RATE).notes
    assert "no Whisper was found" in missing and "no speech detector" in note


def test_faster_whisper_listens(folder, whisper_weights, data):
    exported = OnnxEmotionClassifier.from_pretrained(folder, whisper=whisper_weights / "ctranslate2" / "base")
    prediction = exported.predict(data / "jfk.flac")
    assert "ask not what your country can do for you" in prediction.transcript.text.lower()
    assert prediction.modalities == ("audio", "text") and prediction.transcript.backend == "faster-whisper"


def test_torch_export(tmp_path):
    model = slim("wav2vec2-bert")
    assert export_torch(model, tmp_path, modalities=["both"]) == tmp_path
    program = torch.export.load(tmp_path / "model.pt2").module()
    batch = dict(model.processor(audio=[SPEECH[1], None, SPEECH[3]], text=["hello", "you are so happy", None], **RATE))
    unknown = torch.full((3, *model.model.audio_branch.hidden_mean.shape), float("nan"))
    with torch.no_grad():
        logits, embeddings, _ = program(**batch, speaker_mean=unknown)
        wanted = model(**batch)
    torch.testing.assert_close(logits, wanted.logits, atol=1e-4, rtol=0)
    torch.testing.assert_close(embeddings, wanted.embeddings, atol=1e-4, rtol=1e-4)
    assert not model.training and Path(tmp_path / "tokenizer.json").exists()


def test_a_file_says_of_itself_what_running_it_needs(whisper_folder):
    graph = OnnxGraph(whisper_folder / "model_audio.onnx")
    assert list(graph.shapes) == ["input_features", "audio_attention_mask", "speaker_mean"]
    assert graph.shapes["input_features"] == ["batch", 80, "time"]
    assert graph.outputs == ["logits", "embeddings", "dimensions", "hidden_mean"]
    assert "Licence of the weights" in (whisper_folder / "README.md").read_text()
