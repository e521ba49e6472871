"""What the clients of tests/test_hub.py do, each a process of its own: push, pull, load without a connection."""

import json
import subprocess
import sys

TOKENS = {"hf_secretOfMe": "me", "hf_secretOfYou": "you", "hf_secretReader": "me"}
WRONG = "hf_secretOfNobody"

CLIENT = """
import contextlib, io, json, os, sys, time
from pathlib import Path
import torch
from huggingface_hub import HfApi
from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.cli import main
from multimodal_ser.hub import push as push_folder
from multimodal_ser.testing import synthetic_speech, tiny_model

load, said, given = MultimodalEmotionClassifier.from_pretrained, {}, json.loads(sys.argv[1])

def logits(model):
    batch = model.processor(audio=[synthetic_speech(1.0)], text=["hello world"], sampling_rate=16000)
    with torch.no_grad():
        return [value.hex() for value in model.eval()(**batch).logits[0].double().tolist()]

def refused(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except Exception as error:
        assert "hf_secret" not in "".join(__import__("traceback").format_exception(error))
        return [type(error).__name__, str(error)]
    return None

def command(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return [code, out.getvalue(), err.getvalue()]
"""

PUSH = """
real_sleep, time.sleep = time.sleep, lambda seconds: real_sleep(min(seconds, 0.01))  # huggingface_hub waits between its attempts
model = tiny_model(temperature={"both": 1.25, "audio": 1.5, "text": 0.75})
said["first"], said["first logits"] = model.push_to_hub("me/emotions", commit_message="the first").oid, logits(model)
said["again"] = model.push_to_hub("me/emotions").oid

with torch.no_grad():
    model.classifier.bias += 0.5
said["second"], said["second logits"] = model.push_to_hub("me/emotions").oid, logits(model)
HfApi().create_tag("me/emotions", tag="v2")
with torch.no_grad():
    model.classifier.bias += 0.5
said["trial logits"], said["trial"] = logits(model), model.push_to_hub("me/emotions", revision="trial").oid
with torch.no_grad():
    model.classifier.bias += 0.5
proposed = model.push_to_hub("me/emotions", create_pr=True, commit_message="better", commit_description="by far")
said["proposed logits"], said["pull request"] = logits(model), [proposed.pr_url, proposed.pr_revision]
model.push_to_hub("me/secret", private=True)
model.save_pretrained(Path(given["broken"]).parent / "by-the-way", push_to_hub=True, repo_id="me/by-the-way", commit_message="saved")

Path(given["broken"]).touch()
said["broken"] = refused(model.push_to_hub, "me/shards", max_shard_size="40KB")
said["commits while broken"] = len(HfApi().list_repo_commits("me/shards"))
Path(given["broken"]).unlink()
model.push_to_hub("me/shards", max_shard_size="40KB")
said["shards logits"] = logits(model)
said["shards"] = HfApi().list_repo_files("me/shards")
model.push_to_hub("me/shards")
said["no shards"] = HfApi().list_repo_files("me/shards")

said["loaded and pushed"] = [load("me/by-the-way", whisper=None).push_to_hub("me/by-the-way").oid for _ in range(2)]
said["line end"] = refused(model.push_to_hub, "me/by-the-way", token="hf_secretOfMe\\n")
said["two words"] = refused(model.push_to_hub, "me/emotions", token="hf_secretOfMe twice")
said["public"] = refused(model.push_to_hub, "me/emotions", private=True)
said["private again"] = refused(model.push_to_hub, "me/secret", private=True)
said["request to a branch"] = refused(model.push_to_hub, "me/emotions", revision="elsewhere", create_pr=True)
said["request to others"] = model.push_to_hub("you/open", create_pr=True).pr_url
said["wrong token"] = refused(model.push_to_hub, "me/emotions", token="hf_secretOfNobody")
said["no token"] = refused(model.push_to_hub, "me/emotions", token=False)
said["reader"] = refused(model.push_to_hub, "me/emotions", token="hf_secretReader")
said["not mine"] = refused(model.push_to_hub, "you/emotions")

HfApi().upload_file(path_or_fileobj=b"---\\nlicense: mit\\n---\\n# Mine", path_in_repo="README.md", repo_id="me/secret")
model.push_to_hub("me/secret", commit_message="keeps the card")

folder = Path(given["folder"])
model.save_pretrained(folder)
Path(given["report"]).write_text(json.dumps(given["report content"]))
said["command"] = command("push", folder, "me/commanded", "--private", "--commit-message", "by command", "--report", given["report"])
said["no report"] = command("push", folder, "me/commanded", "--report", folder / "config.json")
said["no folder"] = command("push", folder / "nowhere", "me/commanded")
tagged = [push_folder(folder, "me/commanded", tags=tags).oid for tags in (["calls", "speech"], ["calls"], None)]
said["tagged"] = [HfApi().model_info("me/commanded").sha, *tagged]
with torch.no_grad():
    model.classifier.bias += 0.5
model.save_pretrained(folder)
said["command again"] = command("push", folder, "me/commanded", "--create-pr", "--verbose")
(folder / "LICENSE").write_text("All rights reserved")
(folder / "README.md").write_text("---\\nlicense: mit\\n---\\n# Written by me")
said["own card"] = command("push", folder, "me/own-card", "--revision", "trial")
(folder / "README.md").write_text("---\\nlicense: My own (v2)\\n---\\n# Written by me")
said["bad card"] = command("push", folder, "me/bad-card")
with torch.no_grad():
    model.classifier.bias[0] = torch.nan
model.save_pretrained(folder)
said["no numbers"] = command("push", folder, "me/no-numbers")
(folder / "model.safetensors").unlink()
torch.save(model.state_dict(), folder / "pytorch_model.bin")
said["pickle"] = command("push", folder, "me/pickle")
"""

PULL = """
for name, options in given["loads"].items():
    model = load(options.pop("id"), whisper=None, **options)
    said[name] = [logits(model), model.config.temperature, model._processor_source[1].get("revision")]
for name, options in given["refusals"].items():
    said[name] = refused(load, options.pop("id"), whisper=None, **options)

folder = Path(given["folder"])
said["command"] = command("pull", "me/emotions", "-o", folder / "main")
said["command logits"] = logits(load(folder / "main"))
said["command again"] = command("pull", "me/emotions", "-o", folder / "main")
said["command revision"] = command("pull", "me/emotions", "--output-dir", folder / "deep" / "first", "--revision", given["first"], "--verbose")
said["command revision logits"] = logits(load(folder / "deep" / "first"))
for name in ("me/secret", "you/gated", "me/nothing"):
    said[f"command {name}"] = command("pull", name, "-o", folder / "refused")

from transformers import AutoModelForAudioClassification, pipeline

wave = synthetic_speech(1.0)
[answer] = pipeline("speech-emotion-recognition", model="me/emotions", top_k=None)([{"audio": wave, "text": "so happy"}])
direct = load("me/emotions", whisper=None).predict(wave, sampling_rate=16000, text="so happy").probabilities
said["pipeline by id"] = [{entry["label"]: entry["score"] for entry in answer}, direct]

for name in given["poisoned"]:
    said[name] = [refused(load, name, whisper=None), command("pull", name, "-o", folder / name)]
    said[f"{name} with labels"] = refused(load, name, whisper=None, labels=["a", "b"])
said["evil/code, auto class"] = refused(AutoModelForAudioClassification.from_pretrained, "evil/code")
said["evil/code, asked for"] = command("pull", "evil/code", "-o", folder / "code", "--also", "*.py")

(folder / "here").mkdir()
os.chdir(folder / "here")
said["here"] = command("pull", "me/nested", "--subfolder", "inner", "-o", ".")
said["no such subfolder"] = command("pull", "me/nested", "--subfolder", "outer", "-o", folder / "outer")
said["not writable"] = command("pull", "me/emotions", "-o", folder / "here" / "config.json" / "below")
time.sleep = lambda seconds: None
Path(given["trouble"]).write_text("503")
said["out of order"] = [logits(load("me/emotions", whisper=None)), refused(load, "me/unheard-of", whisper=None), command("pull", "me/emotions", "-o", folder / "x")]
Path(given["trouble"]).write_text("429")
said["too many"] = refused(load, "me/unheard-of", whisper=None)
Path(given["trouble"]).unlink()
"""

OFFLINE = """
said["cached"] = [logits(load("me/emotions", whisper=None)), logits(load("me/emotions", whisper=None, local_files_only=True))]
said["cached revision"] = logits(load("me/emotions", whisper=None, revision=given["first"]))
said["predicted"] = load("me/emotions", whisper=None).predict(synthetic_speech(1.0), sampling_rate=16000, text="hello").modalities
said["not cached"] = refused(load, "me/unheard-of", whisper=None)
said["pull"] = command("pull", "me/emotions", "-o", given["folder"])
said["push"] = refused(tiny_model().push_to_hub, "me/emotions", token="hf_secretOfMe")
"""

REPORT = {
    "version": 1, "labels": ["anger", "happiness", "sadness"], "leaks": [], "notes": [], "model": None,
    "data": {"manifests": ["corpus/manifest.csv"], "corpora": ["my-calls"], "measured": 40, "hours": 0.1, "speakers": 4, "languages": ["en"],
             "data_hash": "0" * 64},
    "protocol": {"name": "speakers", "folds": [1], "trains": False, "seeds": []},
    "systems": [{"case": "audio", "system": "model", "kind": "model", "clips": 40, "speakers": 4, "figures": {"ua": 0.731, "accuracy": 0.7},
                 "intervals": {"ua": [0.6, 0.8]}}],
}  # fmt: skip


def client(hub, home, script, given=None, token=None, **environment):
    """Run a client; what it tells. No output of any client holds a token, however much it logs."""
    done = subprocess.run(
        [sys.executable, "-c", f"{CLIENT}\n{script}\nprint(json.dumps(said))", json.dumps(given or {})],
        env=hub.environment(home, token, HF_DEBUG="1", **environment),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "hf_secret" not in done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])
