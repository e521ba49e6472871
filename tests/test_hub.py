"""The Hub, over real HTTP: what one process pushes another pulls; refusals are told; poisoned repositories do no harm.

A client reads its settings when huggingface_hub is imported, so each is a process of its own; each does many things, as it takes long
to start. What it saw comes back as JSON.
"""

import json
import pickle
from pathlib import Path

import pytest
import torch
from hub_clients import OFFLINE, PULL, PUSH, REPORT, TOKENS, WRONG, client
from hub_server import HubServer
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from multimodal_ser.cli import main
from multimodal_ser.errors import InputError
from multimodal_ser.hub import HubError, check_names, pull
from multimodal_ser.testing import tiny_model


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The Hub of this module, what was pushed to it, and a folder."""
    folder = tmp_path_factory.mktemp("hub")
    with HubServer(TOKENS, readers={"hf_secretReader"}, multipart_above=150_000) as hub:
        hub.cut_uploads = 1  # the first upload breaks off once: huggingface_hub tries again by itself
        hub.cut_while, hub.cut_after = folder / "broken", 2
        hub.trouble_while = folder / "trouble"
        hub.put("you/open", {"README.md": b"# Theirs"})
        given = {
            "broken": str(folder / "broken"),
            "folder": str(folder / "saved"),
            "report": str(folder / "report.json"),
        }
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

    save_file(
        weights | {"classifier.weight": torch.zeros(7, 32)}, folder / "head.safetensors", metadata={"format": "pt"}
    )
    auto = {"AutoConfig": "evil.Evil", "AutoModelForAudioClassification": "evil.Evil", "AutoModel": "evil.Evil"}
    index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "../../evil.safetensors")}
    hub.put("evil/pickle", without("model.safetensors") | {"pytorch_model.bin": pickle.dumps(Harm())})
    hub.put("evil/code", good | {"config.json": changed(config, auto_map=auto), "evil.py": code})
    hub.put("evil/unknown", good | {"config.json": changed(config, auto_map=auto, model_type="evil"), "evil.py": code})
    hub.put("evil/tokenizer", good | {"evil.py": code, "tokenizer_config.json": changed(
        tokenizer, tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil", "evil.Evil"]})})  # fmt: skip
    elsewhere = {"audio_tokenizer_class": "AutoModel", "audio_tokenizer_name_or_path": "evil/pickle"}
    hub.put(
        "evil/reference",
        good | {"processor_config.json": changed(json.loads(good["processor_config.json"]), audio_tokenizer=elsewhere)},
    )
    named = json.dumps({"metadata": {}, "weight_map": dict.fromkeys(weights, "shard.bin")}).encode()
    hub.put(
        "evil/index",
        without("model.safetensors") | {"model.safetensors.index.json": named, "shard.bin": pickle.dumps(Harm())},
    )
    hub.put("evil/disguise", good | {"model.safetensors": pickle.dumps(Harm())})
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
        "private with a token of somebody else": {
            "id": "me/secret",
            "token": "hf_secretOfYou",
            "cache_dir": str(folder / "empty"),
        },
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
    names += ["evil/reference", "evil/index", "evil/disguise"]
    given = {
        "trouble": str(hub.trouble_while),
        "loads": loads,
        "refusals": refusals,
        "folder": str(folder / "pulled"),
        "first": pushed["first"],
        "poisoned": names,
    }
    before = len(hub.requests)
    return client(hub, folder / "puller", PULL, given) | {"requests": hub.requests[before:]}


def _saved(folder):
    tiny_model(seed=3).save_pretrained(folder)
    return folder


def test_a_push_is_one_commit_with_everything(world):
    hub, said, _ = world
    third, second, first = hub.commits("me/emotions")
    assert [first.title, second.title, third.title] == ["initial commit", "the first", "Upload model"]
    assert {"config.json", "model.safetensors", "README.md", "processor_config.json", "tokenizer.json"} <= set(
        second.files
    )
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
    saved = hub.commits("me/by-the-way")[-2]
    assert saved.title == "saved" and {"config.json", "model.safetensors", "README.md", "tokenizer.json"} <= set(
        saved.files
    )


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


def test_a_model_that_was_loaded_and_is_pushed_back_makes_no_commit(world):
    _, said, _ = world
    first, second = said["loaded and pushed"]
    assert first == second


def test_tokens_are_cleaned_or_refused_but_never_quoted(world):
    _, said, _ = world
    assert said["line end"] is None
    name, message = said["two words"]
    assert name == "OSError" and message.startswith("token: expected an access token")


def test_private_weights_are_not_pushed_where_all_can_see_them(world):
    hub, said, _ = world
    name, message = said["public"]
    assert name == "OSError" and "expected a private repository, got one that is public already" in message
    assert said["private again"] is None and len(hub.commits("me/emotions")) == 3


def test_pull_requests_go_to_main_and_to_repositories_of_others(world):
    hub, said, _ = world
    assert "expected a pull request to main" in said["request to a branch"][1] and hub.repository("me/emotions").find(
        "elsewhere"
    ) == (
        None,
        None,
    )
    assert said["request to others"] == f"{hub.url}/you/open/discussions/1"
    proposed, theirs = hub.commits("you/open", "refs/pr/1")
    assert "model.safetensors" in proposed.files and proposed.files["README.md"] == theirs.files["README.md"]


def test_tags_are_added_once_and_stay(world):
    hub, said, _ = world
    assert len(set(said["tagged"])) == 1
    card = ModelCard(hub.commits("me/commanded")[0].files["README.md"].content.decode())
    assert card.data.tags[-2:] == ["calls", "speech"] and "speech-emotion-recognition" in card.data.tags
    assert 0.731 in [
        result.metric_value for result in card.data.eval_results
    ]  # of the same weights: measured once, known from then on
    changed = ModelCard(hub.commits("me/commanded", "refs/pr/1")[0].files["README.md"].content.decode())
    assert not changed.data.eval_results and changed.data.tags == card.data.tags


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
    _, pushed, _ = hub.commits("me/commanded")
    assert said["command"] == [0, f"{hub.url}/me/commanded/commit/{pushed.oid}\n", ""]
    assert hub.repository("me/commanded").private and pushed.title == "by command"
    card = ModelCard(pushed.files["README.md"].content.decode())
    assert 0.731 in [result.metric_value for result in card.data.eval_results]
    code, out, _ = said["command again"]
    assert (code, out) == (0, f"{hub.url}/me/commanded/discussions/1\n")
    for case, start in (("no report", "multimodal-ser: --report: expected"), ("no folder", "multimodal-ser: ")):
        code, out, err = said[case]
        assert (code, out, err.count("\n")) == (2, "", 1) and err.startswith(start)


def test_the_card_of_the_folder_is_pushed(world):
    hub, said, _ = world
    assert said["own card"][0] == 0
    files = hub.commits("me/own-card", "trial")[0].files
    assert (
        files["README.md"].content.endswith(b"# Written by me") and files["LICENSE"].content == b"All rights reserved"
    )


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("bad card", ('"license"', "metadata is the block at the top of README.md")),
        ("no numbers", ("NaN or infinity in classifier.bias",)),
    ],
)
def test_a_card_or_weights_that_are_wrong_are_told_by_name(world, case, told):
    hub, said, _ = world
    code, out, err = said[case]
    assert (code, out, err.count("\n")) == (2, "", 1) and all(part in err for part in told)
    assert (
        not [name for kind, name in hub.repositories if name == "me/no-numbers"]
        and len(hub.commits("me/bad-card")) == 1
    )


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
    assert {Path(path).name for path in moving} == {
        "config.json"
    }  # of a branch only the first file is asked for by its name


def test_subfolder_own_cache_private_and_gated(world, pulled):
    _, pushed, folder = world
    assert pulled["subfolder"][0] == pulled["gated"][0] != pulled["main"][0]
    assert pulled["private"][0] == pushed["proposed logits"]
    assert (folder / "own cache" / "models--me--emotions").is_dir() and not (
        folder / "own cache" / "models--me--nested"
    ).exists()


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
    for name, got in (
        ("me/secret", "no repository"),
        ("you/gated", "a gated repository"),
        ("me/nothing", "no repository"),
    ):
        code, out, err = pulled[f"command {name}"]
        assert (
            (code, out, err.count("\n")) == (2, "", 1)
            and err.startswith(f"multimodal-ser: {name}: ")
            and f"got {got}" in err
        )
    assert not list((folder / "pulled").glob("*refused*")) and not list((folder / "pulled").rglob(".*.partial"))


def test_pull_of_a_subfolder_into_the_current_folder(pulled, world):
    _, _, folder = world
    code, out, err = pulled["here"]
    assert (code, err) == (0, "") and out.startswith(". (commit ")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {
        path.name for path in (folder / "pulled" / "here").iterdir()
    }
    for case, told in (
        ("no such subfolder", "expected a folder 'outer', got none"),
        ("not writable", "--output-dir: expected a folder that can"),
    ):
        code, out, err = pulled[case]
        assert (code, out, err.count("\n")) == (2, "", 1) and told in err


def test_a_hub_that_is_out_of_order_is_told_and_the_cache_serves(world, pulled):
    _, pushed, _ = world
    cached, (name, message), (code, _, err) = pulled["out of order"]
    assert cached == pushed["second logits"]
    assert name == "OSError" and "got no copy in the cache" in message
    assert code == 2 and "status 503" in err and err.count("\n") == 1
    assert "too many requests" in pulled["too many"][1]


@pytest.mark.parametrize(
    ("name", "loading", "pulling"),
    [
        ("evil/pickle", "safetensors", "got pytorch_model.bin, which may run code when it is read"),
        ("evil/tokenizer", "", "expected a checkpoint that loads"),
        ("evil/head", "(7, 32) instead of (3, 32)", "(7, 32) instead of (3, 32)"),
        ("evil/climb", None, "got '../evil.json'; do not use this repository"),
        ("evil/shards", "evil.safetensors", "'../../evil.safetensors'"),
        ("evil/reference", "an audio_tokenizer of another repository", "an audio_tokenizer of another repository"),
        ("evil/index", "'shard.bin', which may run code when it is read", "got shard.bin, which may run code"),
        ("evil/disguise", "expected weights as safetensors", "perhaps a pickle"),
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
    assert loaded is None and pulled["evil/code, auto class"] is None  # our own classes are used
    assert "expected a checkpoint of multimodal_ser, got one of 'evil'" in pulled["evil/unknown"][0][1]
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
    said = client(
        hub, folder / "puller", OFFLINE, {"first": pushed["first"], "folder": str(tmp_path / "model")}, **environment
    )
    assert len(hub.requests) == before
    assert said["cached"] == [pushed["second logits"]] * 2 and said["cached revision"] == pushed["first logits"]
    assert said["predicted"] == ["audio", "text"]
    name, message = said["not cached"]
    assert (
        name == "OSError"
        and "got no copy in the cache, and no way to the Hub; load it once with a connection" in message
    )
    assert said["pull"][0] == 2 and said["pull"][2].startswith(
        "multimodal-ser: me/emotions: expected a repository of the Hub"
    )
    assert said["push"][0] == "OSError" and not (tmp_path / "model").exists()


def test_shards_outside_the_folder_are_refused(tmp_path):
    model = tiny_model()
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "outside.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(model.state_dict(), "../outside.safetensors")}
    (tmp_path / "model" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(OSError, match=r"to name files in this folder, got '\.\./outside\.safetensors'"):
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
