"""Folders and repositories that mean harm, or are broken: refused by name, before anything is built from them."""

import json
import pickle
import re
import struct

import pytest
import torch
from hub_contents import metadata_errors
from safetensors.torch import load_file, save_file

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.hub import HubError, push
from multimodal_ser.hub.access import clean_token
from multimodal_ser.hub.repository_checks import check_config, check_files
from multimodal_ser.testing import tiny_model


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A checkpoint's files."""
    folder = tmp_path_factory.mktemp("good")
    tiny_model().save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def write(good, tmp_path):
    """Write a checkpoint with other files, and without some."""

    def written(without=(), **files):
        folder = tmp_path / "model"
        folder.mkdir()
        changed = {name.replace("__", "."): content for name, content in files.items()}
        for name, content in (good | changed).items():
            if name not in without:
                (folder / name).write_bytes(content)
        return folder

    return written


def index(shard):
    return json.dumps({"metadata": {}, "weight_map": {"classifier.weight": shard}}).encode()


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps({"classifier.weight": 0}),
        b"",
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 90 << 20) + b" " * 1000,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
    ],
    ids=["pickle", "empty", "huge header", "cut", "pointer"],
)
def test_weights_that_are_no_safetensors(write, content):
    folder = write(model__safetensors=content)
    with pytest.raises(
        OSError,
        match="expected weights as safetensors, got a file that is cut short or something else, perhaps a pickle",
    ):
        MultimodalEmotionClassifier.from_pretrained(folder, whisper=None)
    with pytest.raises(HubError, match="expected a checkpoint that loads"):
        push(folder, "me/model")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"model__safetensors__index__json": index("a.bin")}, "to name safetensors, got 'a.bin', which may run code"),
        ({"model__safetensors__index__json": index("/etc/passwd")}, "to name files in this folder, got '/etc/passwd'"),
        ({"model__safetensors__index__json": index("..\\a.safetensors")}, "to name files in this folder"),
        ({"model__safetensors__index__json": b"[]"}, "expected a JSON object in model.safetensors.index.json"),
        ({"model__safetensors__index__json": b'{"weight_map": {"a": 1}}'}, "to name the file of each weight"),
        ({"config__json": b"[" * 100_000}, "expected a JSON object in config.json"),
        ({"audio_tokenizer_config__json": b"{}"}, "an audio_tokenizer of another repository"),
        ({"processor_config__json": b'{"audio_tokenizer": {}}'}, "an audio_tokenizer of another repository"),
    ],
)
def test_files_that_name_others(write, files, told):
    with pytest.raises(OSError, match=re.escape(told)) as caught:
        MultimodalEmotionClassifier.from_pretrained(write(**files), whisper=None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"model_type": "bert"}, "expected a checkpoint of multimodal_ser, got one of 'bert'"),
        ({"temperature": {"both": float("nan")}}, "expected numbers in config.json, got nan for both"),
        ({"temperature": {"both": 1e-320}}, "expected temperatures that logits can be divided by"),
        ({"layer_norm_eps": float("inf")}, "got inf for layer_norm_eps"),
        ({"layer_norm_eps": {"__float__": "NaN"}}, "got NaN for __float__"),
        ({"fusion_layers": 10**9}, "expected 0 to 512 layers in config.json, got fusion_layers 1000000000"),
        ({"fusion_layers": -1}, "got fusion_layers -1"),
        ({"audio_config": {"num_hidden_layers": 10**6}}, "got num_hidden_layers 1000000"),
        ({"text_config": {"n_layer": 10**6}}, "got n_layer 1000000"),
        ({"text_config": {"vocab_size": 10**9}}, "expected sizes up to 4000000"),
        ({"audio_config": {"conv_dim": [16, 10**9]}}, "got conv_dim 1000000000"),
        ({"id2label": {str(n): str(n) for n in range(20_000)}}, "expected up to 10000 classes"),
        ({"attn_implementation": "evil/kernel"}, "expected a config.json that names no code"),
        ({"text_config": {"_attn_implementation": "evil/kernel@main:f"}}, "expected a config.json that names no code"),
    ],
)
def test_settings_that_would_harm(good, fields, told):
    config = json.loads(good["config.json"])
    check_config("me/model", config)
    with pytest.raises(OSError, match=re.escape(told)) as caught:
        check_config("me/model", config | fields)
    assert str(caught.value).endswith(("do not use this checkpoint", "makes a model of encoders"))


def test_large_encoders_are_no_monsters():
    large = {
        "num_hidden_layers": 126,
        "hidden_size": 16384,
        "vocab_size": 262_208,
        "max_position_embeddings": 1_010_000,
        "rope_theta": 10_000_000,
    }
    check_config("me/model", {"model_type": "multimodal_ser", "text_config": large, "fusion_layers": 0})


def test_a_loaded_folder_is_checked_by_its_settings(write, good):
    config = json.loads(good["config.json"])
    folder = write(
        config__json=json.dumps(config | {"temperature": {"both": float("nan"), "audio": 1, "text": 1}}).encode()
    )
    with pytest.raises(OSError, match="got nan for both"):
        MultimodalEmotionClassifier.from_pretrained(folder, whisper=None)
    check_files("me/model", lambda name: None)  # a repository with none of them has nothing to refuse


def test_weights_that_are_no_numbers_are_not_pushed(write, tmp_path, good):
    folder = write()
    weights = load_file(folder / "model.safetensors")
    weights["classifier.weight"][0, 0], weights["classifier.bias"][0] = torch.nan, torch.inf
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(OSError, match=r"NaN or infinity in classifier\.weight, classifier\.bias"):
        MultimodalEmotionClassifier.from_pretrained(folder, whisper=None)
    with pytest.raises(HubError, match=r"NaN or infinity in classifier\.weight, classifier\.bias"):
        push(folder, "me/model")


def test_the_index_of_a_variant_is_read_too(write):
    folder = write(without=["model.safetensors"])
    (folder / "model.safetensors.index.fp16.json").write_bytes(index("weights.bin"))
    with pytest.raises(OSError, match=r"got .weights\.bin., which may run code"):
        MultimodalEmotionClassifier.from_pretrained(folder, variant="fp16", whisper=None)


@pytest.mark.parametrize("token", ["", " ", "hf_a b", "hf_a\nhf_b", "hf_ä", "hf_\x00"])
def test_what_cannot_be_a_token_is_not_quoted(token):
    with pytest.raises(OSError, match="token: expected an access token") as caught:
        clean_token(token)
    assert len(token) < 2 or token not in str(caught.value)
    assert clean_token("hf_abc\r\n") == "hf_abc" and clean_token(True) is True


@pytest.mark.parametrize(
    ("metadata", "refused"),
    [
        ("license: apache-2.0\nlanguage: [en, pt-BR]\ndatasets: [a/b]\nbase_model: me/x", 0),
        ("license: other\nlicense_name: my-own-2.0\nlicense_link: LICENSE", 0),
        ("license: My own", 1), ("license: evil", 1), ("license: 5", 1), ("license_name: My own", 1), ("license_link: /etc/licence", 1),
        ("language: English", 1), ("tags: [1]", 1), ("base_model: [/home/me/model]", 1), ("model-index: evil", 1), ("a: [", 1),
        ("model-index: [{name: m, results: [{task: {type: t}, dataset: {name: d}, metrics: [{type: f1}]}]}]", 2),
    ],
)  # fmt: skip
def test_the_stand_in_refuses_metadata_that_the_hub_would_refuse(metadata, refused):
    assert len(metadata_errors(f"---\n{metadata}\n---\n# A model")) == refused
    assert metadata_errors("# No block") is None
