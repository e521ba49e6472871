"""The Hub, over real HTTP: what one process pushes another pulls; refusals are told; poisoned repositories do no harm.

A client reads its settings when huggingface_hub is imported, so each is a process of its own; each does many things, as it takes long
to start. What it saw comes back as JSON.
"""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hub_server import HubServer
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from multimodal_ser.cli import main
from multimodal_ser.errors import InputError
from multimodal_ser.hub import HubError, check_names, pull
from multimodal_ser.testing import tiny_model

TOKENS = {"hf_secretOfMe": "me", "hf_secretOfYou": "you", "hf_secretReader": "me"}
WRONG = "hf_secretOfNobody"

CLIENT = """
import contextlib, io, json, os, sys, time
from pathlib import Path
import torch
from huggingface_hub import HfApi
from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.cli import main
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
said["command again"] = command("push", folder, "me/commanded", "--create-pr", "--verbose")
said["no report"] = command("push", folder, "me/commanded", "--report", folder / "config.json")
said["no folder"] = command("push", folder / "nowhere", "me/commanded")
(folder / "README.md").write_text("---\\nlicense: mit\\n---\\n# Written by me")
said["own card"] = command("push", folder, "me/own-card", "--revision", "trial")
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
    "systems": [{"case": "audio", "system": "model", "kind": "model", "clips": 40, "speakers": 4, "figures": {"ua": 0.731, "wa": 0.7},
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


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The Hub of this module, what was pushed to it, and a folder."""
    folder = tmp_path_factory.mktemp("hub")
    with HubServer(TOKENS, readers={"hf_secretReader"}, multipart_above=150_000) as hub:
        hub.cut_uploads = 1  # the first upload breaks off once: huggingface_hub tries again by itself
        hub.cut_while, hub.cut_after = folder / "broken", 2
        given = {"broken": str(folder / "broken"), "folder": str(folder / "saved"), "report": str(folder / "report.json")}
        said = client(hub, folder / "pusher", PUSH, given | {"report content": REPORT}, token="hf_secretOfMe")
        yield hub, said, folder


@pytest.fixture(scope="module")
def poisoned(world, tmp_path_factory):
    """Repositories that mean harm; the file that their code would write."""
    hub, _, _ = world
    folder, marker = tmp_path_factory.mktemp("poison"), tmp_path_factory.mktemp("harm") / "done"
    model = tiny_model()
    model.save_pretrained(folder)
    good = {path.name: path.read_bytes() for path in folder.iterdir()}
    config, weights = json.loads(good["config.json"]), load_file(folder / "model.safetensors")
    tokenizer = json.loads(good["tokenizer_config.json"])
    code = f"open({str(marker)!r}, 'w').close()\nclass Evil: pass\n".encode()

    class Harm:
        def __reduce__(self):
            return open, (str(marker), "w")

    def changed(content, **fields):
        return json.dumps(content | fields).encode()

    def without(*names):
        return {name: content for name, content in good.items() if name not in names}

    save_file(weights | {"classifier.weight": torch.zeros(7, 32)}, folder / "head.safetensors", metadata={"format": "pt"})
    auto = {"AutoConfig": "evil.Evil", "AutoModelForAudioClassification": "evil.Evil", "AutoModel": "evil.Evil"}
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "../../evil.safetensors")}
    hub.put("evil/pickle", without("model.safetensors") | {"pytorch_model.bin": pickle.dumps(Harm())})
    hub.put("evil/code", good | {"config.json": changed(config, auto_map=auto), "evil.py": code})
    hub.put("evil/unknown", good | {"config.json": changed(config, auto_map=auto, model_type="evil"), "evil.py": code})
    hub.put("evil/tokenizer", good | {"evil.py": code, "tokenizer_config.json": changed(
        tokenizer, tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})})  # fmt: skip
    hub.put("evil/head", good | {"model.safetensors": (folder / "head.safetensors").read_bytes()})
    hub.put("evil/climb", good, listed_too=["../evil.json"])
    hub.put("evil/shards", without("model.safetensors") | {"model.safetensors.index.json": json.dumps(index).encode()})
    hub.put("evil/shards", {"other.safetensors": good["model.safetensors"]})
    return marker


@pytest.fixture(scope="module")
def pulled(world, poisoned):
    """What a process with an empty cache and no token found."""
    hub, pushed, folder = world
    hub.put_folder("me/nested", _saved(folder / "nested"), under="inner/")
    hub.put_folder("you/gated", folder / "nested", gated=True, granted={"me"})
    loads = {
        "main": {"id": "me/emotions"},
        "commit": {"id": "me/emotions", "revision": pushed["first"]},
        "tag": {"id": "me/emotions", "revision": "v2"},
        "branch": {"id": "me/emotions", "revision": "trial"},
        "pull request": {"id": "me/emotions", "revision": pushed["pull request"][1]},
        "shards": {"id": "me/shards"},
        "own cache": {"id": "me/emotions", "cache_dir": str(folder / "own cache")},
        "subfolder": {"id": "me/nested", "subfolder": "inner"},
        "private": {"id": "me/secret", "token": "hf_secretOfMe"},
        "gated": {"id": "you/gated", "token": "hf_secretOfMe"},
    }
    refusals = {
        "private without a token": {"id": "me/secret", "cache_dir": str(folder / "empty")},
        "private with a token of somebody else": {"id": "me/secret", "token": "hf_secretOfYou", "cache_dir": str(folder / "empty")},
        "gated without a token": {"id": "you/gated", "cache_dir": str(folder / "empty")},
        "gated with a token": {"id": "you/gated", "token": "hf_secretReader", "cache_dir": str(folder / "empty")},
        "wrong token": {"id": "me/emotions", "token": WRONG, "cache_dir": str(folder / "empty")},
        "not there": {"id": "me/nothing"},
        "no such revision": {"id": "me/emotions", "revision": "nowhere"},
        "no name": {"id": "me/emotions/of/today"},
        "local only": {"id": "me/emotions", "local_files_only": True, "cache_dir": str(folder / "empty")},
    }
    hub.repository("you/gated").granted = {"me"}
    names = ["evil/pickle", "evil/code", "evil/unknown", "evil/tokenizer", "evil/head", "evil/climb", "evil/shards"]
    given = {"loads": loads, "refusals": refusals, "folder": str(folder / "pulled"), "first": pushed["first"], "poisoned": names}
    before = len(hub.requests)
    return client(hub, folder / "puller", PULL, given) | {"requests": hub.requests[before:]}


def _saved(folder):
    tiny_model(seed=3).save_pretrained(folder)
    return folder


def test_a_push_is_one_commit_with_everything(world):
    hub, said, _ = world
    third, second, first = hub.commits("me/emotions")
    assert [first.title, second.title, third.title] == ["initial commit", "the first", "Upload model"]
    assert {"config.json", "model.safetensors", "README.md", "processor_config.json", "tokenizer.json"} <= set(second.files)
    assert json.loads(second.files["config.json"].content)["temperature"] == {"both": 1.25, "audio": 1.5, "text": 0.75}
    weights = second.files["model.safetensors"]
    assert weights.large and {f"{weights.sha256}/parts/{part}" for part in (1, 2)} <= set(hub.uploads)
    card = ModelCard(second.files["README.md"].content.decode())
    assert card.data.pipeline_tag == "audio-classification" and '"me/emotions"' in card.text
    assert (said["first"], said["second"]) == (second.oid, third.oid)


def test_a_push_that_changes_nothing_makes_no_commit(world):
    _, said, _ = world
    assert said["again"] == said["first"]


def test_branch_and_pull_request_leave_main_alone(world):
    hub, said, _ = world
    repository = hub.repository("me/emotions")
    assert repository.find("main")[1].oid == said["second"]
    assert repository.find("trial")[1].oid == said["trial"] and repository.find("trial")[1].parent.oid == said["second"]
    url, revision = said["pull request"]
    assert revision == "refs/pr/1" and url == f"{hub.url}/me/emotions/discussions/1"
    proposed = repository.find(revision)[1]
    assert (proposed.title, proposed.message, proposed.parent.oid) == ("better", "by far", said["second"])


def test_saving_pushes_too_where_that_is_asked_for(world):
    hub, _, _ = world
    saved, _ = hub.commits("me/by-the-way")
    assert saved.title == "saved" and {"config.json", "model.safetensors", "README.md", "tokenizer.json"} <= set(saved.files)


def test_private_is_private_and_a_persons_card_stays(world):
    hub, _, _ = world
    assert hub.repository("me/secret").private and not hub.repository("me/emotions").private
    newest = hub.commits("me/secret")[0]
    assert newest.files["README.md"].content == b"---\nlicense: mit\n---\n# Mine"


def test_an_upload_that_broke_off_goes_on_where_it_was(world):
    hub, said, _ = world
    name, message = said["broken"]
    assert name == "OSError" and message.startswith(
        "me/shards: expected a repository of the Hub that can be used, got a connection that broke"
    )
    assert "do it again: what arrived whole is not sent again" in message
    assert said["commits while broken"] == 1  # that of the empty repository
    assert sum(file.endswith(".safetensors") for file in said["shards"]) > 3
    assert len(hub.uploads) == len(set(hub.uploads))  # nothing was sent twice, neither the two shards that had arrived
    assert len(hub.commits("me/shards")) == 3


def test_weights_that_are_replaced_go(world):
    _, said, _ = world
    assert [file for file in said["shards"] if file.endswith("index.json")] == ["model.safetensors.index.json"]
    assert [file for file in said["no shards"] if "safetensors" in file] == ["model.safetensors"]


@pytest.mark.parametrize(
    ("case", "got", "remedy"),
    [
        ("wrong token", "no token, or one that the Hub does not know", "log in with `hf auth login`"),
        ("no token", "no token, or one that the Hub does not know", "set HF_TOKEN"),
        ("reader", "a token without the right to do this", "a token that may only read cannot push"),
        ("not mine", "a token without the right to do this", "give a token"),
    ],
)
def test_a_push_that_is_refused_is_told(world, case, got, remedy):
    _, said, _ = world
    name, message = said[case]
    assert name == "OSError" and f"got {got}; " in message and remedy in message


def test_push_by_command(world):
    hub, said, _ = world
    assert said["command"] == [0, f"{hub.url}/me/commanded/commit/{hub.commits('me/commanded')[0].oid}\n", ""]
    assert hub.repository("me/commanded").private and hub.commits("me/commanded")[0].title == "by command"
    card = ModelCard(hub.commits("me/commanded")[0].files["README.md"].content.decode())
    assert 0.731 in [result.metric_value for result in card.data.eval_results]
    code, out, _ = said["command again"]
    assert (code, out) == (0, f"{hub.url}/me/commanded/discussions/1\n")
    for case, start in (("no report", "multimodal-ser: --report: expected"), ("no folder", "multimodal-ser: ")):
        code, out, err = said[case]
        assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith(start)


def test_the_card_of_the_folder_is_pushed(world):
    hub, said, _ = world
    assert said["own card"][0] == 0
    assert hub.commits("me/own-card", "trial")[0].files["README.md"].content.endswith(b"# Written by me")


def test_a_folder_that_does_not_load_is_not_pushed(world):
    hub, said, _ = world
    code, _, err = said["pickle"]
    assert code == 2 and "expected a checkpoint that loads" in err and ("models", "me/pickle") not in hub.repositories


def test_tokens_go_to_the_hub_alone(world, pulled):
    hub, _, _ = world
    assert {with_token for server, _, _, with_token in hub.requests if server == "hub"} == {True, False}
    assert {with_token for server, _, _, with_token in hub.requests if server == "storage"} == {False}


@pytest.mark.parametrize(
    ("load", "push"),
    [("main", "second"), ("commit", "first"), ("tag", "second"), ("branch", "trial"), ("pull request", "proposed"), ("shards", "shards"), ("own cache", "second")],
)  # fmt: skip
def test_another_process_gets_the_same_logits_to_the_bit(world, pulled, load, push):
    _, pushed, _ = world
    assert pulled[load][:2] == [pushed[f"{push} logits"], {"both": 1.25, "audio": 1.5, "text": 0.75}]


def test_the_pipeline_by_id_gives_the_same_answer(pulled):
    answer, direct = pulled["pipeline by id"]
    assert answer == pytest.approx(direct, abs=1e-6) and len(answer) == 3


def test_everything_comes_from_one_commit(world, pulled):
    _, pushed, _ = world
    assert pulled["main"][2] == pushed["second"] and pulled["branch"][2] == pushed["trial"]
    moving = [path for _, _, path, _ in pulled["requests"] if path.startswith("/me/emotions/resolve/trial/")]
    assert {Path(path).name for path in moving} == {"config.json"}  # of a branch only the first file is asked for by its name


def test_subfolder_own_cache_private_and_gated(world, pulled):
    _, pushed, folder = world
    assert pulled["subfolder"][0] == pulled["gated"][0] != pulled["main"][0]
    assert pulled["private"][0] == pushed["proposed logits"]
    assert (folder / "own cache" / "models--me--emotions").is_dir() and not (folder / "own cache" / "models--me--nested").exists()


@pytest.mark.parametrize(
    ("case", "got", "remedy"),
    [
        ("private without a token", "no repository of this name that can be seen", "if it is private, log in"),
        ("private with a token of somebody else", "no repository of this name that can be seen", "check the name"),
        ("gated without a token", "a gated repository", "ask for access on its page"),
        ("wrong token", "no token, or one that the Hub does not know", "log in with `hf auth login`"),
        ("not there", "no repository of this name that can be seen", "check the name"),
        ("no such revision", "a repository without this revision", "look for its branches"),
        ("no name", "neither an existing folder nor a name such as user/model", "check it"),
        ("local only", "no copy in the cache, and no way to the Hub", "load it once with a connection"),
    ],
)
def test_a_load_that_is_refused_is_told(pulled, case, got, remedy):
    name, message = pulled[case]
    assert name == "OSError" and f"got {got}" in message and remedy in message and "\n" not in message


def test_a_gated_repository_opens_to_whom_it_was_opened(pulled):
    assert pulled["gated with a token"] is None


def test_pull_by_command(world, pulled):
    _, pushed, folder = world
    code, out, err = pulled["command"]
    assert (code, out, err) == (0, f"{folder / 'pulled' / 'main'} (commit {pushed['second']})\n", "")
    assert pulled["command logits"] == pushed["second logits"]
    assert pulled["command revision"][0] == 0 and pulled["command revision logits"] == pushed["first logits"]
    code, out, err = pulled["command again"]
    assert (code, out) == (2, "") and "expected a new or an empty folder" in err
    names = {path.name for path in (folder / "pulled" / "main").iterdir()}
    assert {"config.json", "model.safetensors", "README.md", "tokenizer.json"} <= names and ".cache" not in names
    for name, got in (("me/secret", "no repository"), ("you/gated", "a gated repository"), ("me/nothing", "no repository")):
        code, out, err = pulled[f"command {name}"]
        assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith(f"multimodal-ser: {name}: ") and f"got {got}" in err
    assert not list((folder / "pulled").glob("*refused*")) and not list((folder / "pulled").rglob(".*.partial"))


@pytest.mark.parametrize(
    ("name", "loading", "pulling"),
    [
        ("evil/pickle", "safetensors", "got pytorch_model.bin, which may run code when it is read"),
        ("evil/tokenizer", "", "expected a checkpoint that loads"),
        ("evil/head", "(7, 32) instead of (3, 32)", "(7, 32) instead of (3, 32)"),
        ("evil/climb", None, "got '../evil.json'; do not use this repository"),
        ("evil/shards", "evil.safetensors", "'../../evil.safetensors'"),
    ],
)
def test_poison_is_refused(world, pulled, poisoned, name, loading, pulling):
    _, _, folder = world
    loaded, (code, out, err) = pulled[name]
    if loading is None:  # nothing asks for the file
        assert loaded is None
    else:
        assert loaded is not None and loading in loaded[1]
    assert (code, out) == (2, "") and pulling in err and err.startswith(f"multimodal-ser: {name}: ")
    assert not (folder / "pulled" / name).exists()
    assert not poisoned.exists()
    assert not [path for path in folder.rglob("evil*") if path.suffix in (".json", ".safetensors")]


def test_code_is_not_run_without_consent(world, pulled, poisoned):
    _, _, folder = world
    loaded, (code, _, err) = pulled["evil/code"]
    assert loaded is None and pulled["evil/code, auto class"] is None and pulled["evil/unknown"][0] is None  # our own classes are used
    assert code == 0 and "left out, as no checkpoint needs it: evil.py" in err
    assert not (folder / "pulled" / "evil" / "code" / "evil.py").exists()
    assert pulled["evil/code, asked for"][0] == 0 and (folder / "pulled" / "code" / "evil.py").exists()
    assert pulled["evil/unknown with labels"] is not None and pulled["evil/tokenizer with labels"] is not None
    assert not poisoned.exists()


@pytest.mark.parametrize("how", ["asked for", "unreachable"])
def test_without_a_connection_the_cache_serves(world, pulled, tmp_path, how):
    hub, pushed, folder = world
    before = len(hub.requests)
    environment = {"HF_HUB_OFFLINE": "1"} if how == "asked for" else {"HF_ENDPOINT": "http://127.0.0.1:9"}
    said = client(hub, folder / "puller", OFFLINE, {"first": pushed["first"], "folder": str(tmp_path / "model")}, **environment)
    assert len(hub.requests) == before
    assert said["cached"] == [pushed["second logits"]] * 2 and said["cached revision"] == pushed["first logits"]
    assert said["predicted"] == ["audio", "text"]
    name, message = said["not cached"]
    assert name == "OSError" and "got no copy in the cache, and no way to the Hub; load it once with a connection" in message
    assert said["pull"][0] == 2 and said["pull"][2].startswith("multimodal-ser: me/emotions: expected a repository of the Hub")
    assert said["push"][0] == "OSError" and not (tmp_path / "model").exists()


def test_shards_outside_the_folder_are_refused(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(model.state_dict(), "../outside.safetensors")}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(OSError, match=r"expected names of files in this folder, got '\.\./outside\.safetensors'"):
        type(model).from_pretrained(tmp_path / "model")


@pytest.mark.parametrize(
    "name", ["../evil", "a/../../evil", "/etc/evil", "C:\\evil", "C:evil", "a\\..\\evil", "\\\\host\\evil", "a\nb", ""]
)
def test_names_that_lead_out_of_the_folder(name):
    with pytest.raises(HubError, match="do not use this repository"):
        check_names("me/model", ["config.json", name])


def test_a_folder_that_is_in_use_is_refused_before_anything_is_asked(tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="expected a new or an empty folder"):
        pull("me/model", tmp_path)
    with pytest.raises(OSError, match="which is a file"):
        pull("me/model", tmp_path / "mine.txt")
    assert main(["pull", "me/model", "-o", str(tmp_path)]) == 2
    assert "which holds files; name another" in capsys.readouterr().err
