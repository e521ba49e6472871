"""The embedding cache: the same states from disk, misses where anything changed, nothing half written, nothing computed twice."""

import errno
import multiprocessing
import os
import resource
import shutil
import stat
import time
from collections import namedtuple

import numpy as np
import pytest
import torch

from multimodal_ser.errors import InputError
from multimodal_ser.testing import synthetic_speech, tiny_model
from multimodal_ser.training.cache import (
    EmbeddingCache,
    branch_fingerprint,
    estimated_bytes,
    fill,
    require_space,
)

pytestmark = pytest.mark.filterwarnings("error")  # torch warns of arrays that cannot be written


def states(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def cache_at(folder, dtype="float32", branch="0123abcd"):
    return EmbeddingCache(folder, branch=branch, dtype=dtype)


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_round_trip(tmp_path):
    given = states(3, 17, 8)
    exact, half = cache_at(tmp_path / "Ünïcode"), cache_at(tmp_path / "Ünïcode", "float16")
    key = exact.key("content")
    exact.put(key, given)
    assert key in exact and key not in half  # the precision is part of what is asked for
    half.put(key, given)
    assert torch.equal(exact.get(key), given) and exact.get(key).dtype == torch.float32
    assert torch.equal(half.get(key), given.half()) and (half.get(key).float() - given).abs().max() < 2e-3
    text = states(5, 4, seed=1)
    exact.put(exact.key("text"), text.bfloat16().t())  # not contiguous, another precision
    assert torch.equal(exact.get(exact.key("text")), text.bfloat16().float().t())
    assert exact.size() == sum(path.stat().st_size for path in exact.directory.rglob("*.npy"))
    assert exact.size() == estimated_bytes([17], 3, 8, "float32") + estimated_bytes([4], 1, 5, "float32")
    assert half.size() == estimated_bytes([17], 3, 8, "float16") == estimated_bytes(17, 3, 8, "float16") + 128
    assert np.array_equal(np.load(next(half.directory.rglob("*.npy"))), given.half().numpy())  # any tool can read it


def test_what_is_read_can_be_changed_and_holds_no_file(tmp_path):
    cache = cache_at(tmp_path)
    key = cache.key("content")
    cache.put(key, states(2, 3))
    opened = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    read = [cache.get(key) for _ in range(50)]
    if opened is not None:
        assert len(os.listdir("/proc/self/fd")) == opened
    read[0].zero_()
    assert torch.equal(read[1], states(2, 3)) and torch.equal(cache.get(key), states(2, 3))
    cache.put(key, states(2, 3, seed=1))
    assert torch.equal(cache.get(key), states(2, 3, seed=1)) and torch.equal(read[1], states(2, 3))


def test_keys_depend_on_content_and_options(tmp_path):
    cache = cache_at(tmp_path)
    keys = {
        cache.key("a"),
        cache.key("b"),
        cache.key("a", "speed=0.9"),
        cache.key("a", "speed=1.1"),
        cache.key("aspeed=", "0.9"),
    }
    assert len(keys) == 5 and all(len(key) == 64 for key in keys)
    assert cache.key("a", "x") == cache_at(tmp_path / "other", "float16", "ffff").key("a", "x")
    cache.put(cache.key("a"), states(1, 1))
    assert cache.missing([cache.key("b"), cache.key("a"), cache.key("b"), cache.key("a", "speed=0.9")]) == [
        cache.key("b"), cache.key("a", "speed=0.9"),
    ]  # fmt: skip
    assert cache.key("a") not in cache_at(tmp_path, branch="4567")
    for wrong in ("../../etc/passwd", "", "A" * 64):
        with pytest.raises(InputError, match="64 hexadecimal digits"):
            cache.get(wrong)


def test_another_weight_buffer_configuration_or_class_is_another_branch():
    def changed(change):
        encoder = tiny_model().model.audio_branch.encoder
        with torch.no_grad():
            change(encoder)
        return branch_fingerprint(encoder)

    same = changed(lambda encoder: None)
    assert same == changed(lambda encoder: encoder.train().requires_grad_(False))
    middle = "encoder.layers.1.attention.k_proj.bias"
    others = [
        changed(lambda encoder: encoder.get_parameter(middle)[3].add_(1e-7)), changed(lambda encoder: encoder.half()),
        changed(lambda encoder: encoder.register_buffer("shift", torch.zeros(()))),
        changed(lambda encoder: encoder.register_buffer("shift", torch.ones(()), persistent=False)),
        changed(lambda encoder: setattr(encoder.config, "layer_norm_eps", 1e-6)), changed(lambda encoder: setattr(encoder, "extra", torch.nn.ReLU())),
        branch_fingerprint(tiny_model().model.audio_branch.encoder, "extra"), branch_fingerprint(tiny_model(seed=1).model.audio_branch.encoder),
        branch_fingerprint(tiny_model().model.text_branch.encoder),
    ]  # fmt: skip
    assert len({same, *others}) == len(others) + 1
    # the same weights under another front, which normalises otherwise
    group = tiny_model("wav2vec2-group").model.audio_branch.encoder
    before = branch_fingerprint(group)
    group.feature_extractor.__class__ = type("Other", (torch.nn.Module,), {})
    assert branch_fingerprint(group) != before


@pytest.mark.parametrize("audio", ["wav2vec2", "wav2vec2-group", "whisper_audio_encoder"])
def test_a_saved_and_loaded_branch_is_the_same(tmp_path, audio):
    model = tiny_model(audio)
    model.save_pretrained(tmp_path / "elsewhere")
    loaded = type(model).from_pretrained(tmp_path / "elsewhere")
    for one, other in ((model, loaded), (model, tiny_model(audio))):
        assert branch_fingerprint(one.model.audio_branch.encoder) == branch_fingerprint(
            other.model.audio_branch.encoder
        )
        assert branch_fingerprint(one.model.text_branch) == branch_fingerprint(other.model.text_branch)
    loaded.model.audio_branch.encoder.config.transformers_version = "4.0"
    loaded.model.audio_branch.encoder.config.name_or_path = "somebody/else"
    assert branch_fingerprint(model.model.audio_branch.encoder) == branch_fingerprint(loaded.model.audio_branch.encoder)


def test_half_precision_that_does_not_hold_the_states_is_refused(tmp_path):
    exact, half = cache_at(tmp_path), cache_at(tmp_path, "float16")
    key, large = exact.key("content"), torch.tensor([[1.0, -70000.0]])
    with pytest.raises(InputError, match=r"fit into float16, whose largest is 65504, got 70000; use dtype=\"float32\""):
        half.put(key, large)
    assert key not in half
    exact.put(key, large)
    half.put(key, large.clamp(-65504, 65504))
    assert torch.equal(exact.get(key), large) and half.get(key).isfinite().all()
    for bad in (torch.tensor([[1.0, float("nan")]]), torch.tensor([[float("inf")]])):
        for cache in (exact, half):
            with pytest.raises(InputError, match="finite numbers, got NaN or infinity"):
                cache.put(key, bad)
    for bad in (torch.zeros(3, 0, 8), torch.zeros(3, 1, 8, dtype=torch.long)):
        with pytest.raises(InputError, match="at least one frame of floating-point numbers"):
            exact.put(key, bad)
    assert torch.equal(exact.get(key), large)


def test_a_damaged_file_is_a_miss_and_is_computed_again(tmp_path):
    cache = cache_at(tmp_path)
    key, given = cache.key("content"), states(3, 17, 8)
    cache.put(key, given)
    path = next(cache.directory.rglob("*.npy"))
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    damaged = [whole[:size] for size in (0, 5, 9, 60, 127, 128, 129, len(whole) - 1)]
    damaged += [whole + b"\0", b"\0" * len(whole), generator.bytes(len(whole)), whole[:10] + b"(" * 118 + whole[128:]]
    damaged += [whole[:10] + generator.bytes(118) + whole[128:] for _ in range(20)]
    damaged += [whole.replace(b"'<f4'", descr) for descr in (b"'<i4'", b"'>f4'", b"'|O4'")]
    damaged += [
        whole.replace(b"False", b"True "),
        whole.replace(b"(3, 17, 8)", b"(-3,17,-8)"),
        whole.replace(b"(3, 17, 8)", b"(3, 16, 8)"),
    ]
    for content in damaged:
        assert content != whole
        path.write_bytes(content)
        assert key not in cache and cache.missing([key]) == [key]
        with pytest.raises(InputError, match="expected hidden states, got a damaged file; fill the cache again"):
            cache.get(key)
    assert fill(cache, ["content"], cache.key, lambda items: [given]) == 1
    assert torch.equal(cache.get(key), given)
    with pytest.raises(InputError, match="expected hidden states, got none"):
        cache.get(cache.key("other"))


def _put_and_die(cache, key):
    os.replace = lambda *paths: os._exit(9)
    cache.put(key, states(3, 17, 8))


def _put_often(cache, keys, seed):
    for _ in range(20):
        for key in keys:
            cache.put(key, states(3, 50, 32, seed=seed))


def test_processes_that_die_or_write_the_same_keys(tmp_path):
    cache = cache_at(tmp_path)
    keys = [cache.key(str(i)) for i in range(4)]
    spawn = multiprocessing.get_context("spawn")
    writers = [spawn.Process(target=_put_often, args=(cache, keys, seed)) for seed in (1, 2)]
    dying = spawn.Process(target=_put_and_die, args=(cache, cache.key("never")))
    candidates = [states(3, 50, 32, seed=seed) for seed in (1, 2)]
    for process in (*writers, dying):
        process.start()
    while any(process.is_alive() for process in writers):
        for key in keys:
            if key in cache:
                read = cache.get(key)  # once: the next call may find the other writer's
                assert any(torch.equal(read, candidate) for candidate in candidates)
    for process in (*writers, dying):
        process.join()
    assert [process.exitcode for process in (*writers, dying)] == [0, 0, 9]
    assert all(any(torch.equal(cache.get(key), candidate) for candidate in candidates) for key in keys)

    left = list(cache.directory.glob("unfinished-*"))
    assert len(left) == 1 and cache.key("never") not in cache  # what the dead one left
    assert cache.size() == 4 * estimated_bytes([50], 3, 32, "float32")
    cache_at(tmp_path)
    assert left[0].exists()  # it may still have a writer
    old = time.time() - 3600
    os.utime(left[0], (old, old))
    cache_at(tmp_path)
    assert not left[0].exists() and not cache.missing(keys)


def test_an_interrupted_write_keeps_what_was_there(tmp_path, monkeypatch):
    cache = cache_at(tmp_path)
    key = cache.key("content")
    cache.put(key, states(2, 3))

    def interrupted(*paths):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache.put(key, states(2, 3, seed=1))
    assert torch.equal(cache.get(key), states(2, 3)) and not list(cache.directory.glob("unfinished-*"))


def test_a_full_disk(tmp_path, monkeypatch):
    cache = cache_at(tmp_path)
    key = cache.key("content")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (100_000, hard)
    )  # files cannot grow further: the write itself fails midway
    try:
        with pytest.raises(InputError, match="room for an entry") as error:
            cache.put(key, states(100, 1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert error.value.got == os.strerror(errno.EFBIG)
    assert key not in cache and not list(cache.directory.glob("unfinished-*"))

    computed = []

    def full(*paths):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(
        InputError, match="No space left on device; store half precision"
    ):  # at once, and not for every item
        fill(
            cache,
            list("abcd"),
            cache.key,
            lambda items: computed.extend(items) or [states(2, 3)] * len(items),
            batch_size=1,
        )
    assert computed == ["a"]


def test_a_small_disk_is_refused_before_anything_is_computed(tmp_path, monkeypatch):
    usage, asked = namedtuple("usage", "total used free"), []
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: asked.append(path) or usage(100 * 10**9, 90 * 10**9, 10 * 10**9)
    )
    require_space(tmp_path / "not" / "yet", 9 * 10**9)
    assert asked == [tmp_path]
    with pytest.raises(InputError) as error:
        require_space(tmp_path / "not" / "yet", 9 * 10**9 + 1)
    for word in (
        "9.0 GB",
        "1.0 GB to spare",
        "10.0 GB free",
        "float16",
        "cache_dir",
        "augmentation_variants",
        "embedding_cache=False",
    ):
        assert word in str(error.value)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda path: usage(10**9, 9 * 10**8, 10**8)
    )  # a small disk: a twentieth is left
    require_space(tmp_path, 5 * 10**7)
    with pytest.raises(InputError, match=r"50\.0 MB of free disk for embeddings and 50\.0 MB to spare, got 100\.0 MB"):
        require_space(tmp_path, 5 * 10**7 + 1)


def test_two_processes_cover_everything_once(tmp_path):
    items = [f"{i:02d}" for i in range(23)] + ["03", "07"]
    cache = cache_at(tmp_path)
    computed = []

    def compute(batch):
        computed.append(list(batch))
        assert not torch.is_grad_enabled()
        return [torch.full((2, int(item) + 1), float(item)) for item in batch]

    def run(process_index):  # the second begins when the first has stored all of its own
        progress = []
        count = fill(
            cache, items, cache.key, compute, batch_size=4, length_of=lambda item: int(item) % 7, process_index=process_index, num_processes=2,
            on_progress=lambda done, total: progress.append((done, total)),
        )  # fmt: skip
        assert [done for done, _ in progress] == [*range(4, count, 4), count] and {total for _, total in progress} == {
            count
        }
        return count

    cache.put(cache.key("05"), torch.full((2, 6), 5.0))
    counts = [run(0), run(1)]
    assert sum(counts) == 22 and abs(counts[0] - counts[1]) <= 2
    assert sorted(item for batch in computed for item in batch) == sorted(set(items) - {"05"})
    lengths = [[int(item) % 7 for item in batch] for batch in computed]
    assert all(max(batch) - min(batch) <= 3 for batch in lengths) and lengths[0][0] == 6
    for item in items:
        assert torch.equal(cache.get(cache.key(item)), torch.full((2, int(item) + 1), float(item)))
    assert fill(cache, items, cache.key, compute) == 0


def failing(batch):
    for item in batch:
        if item.startswith("bad"):
            raise InputError(item, expected="audio", got="noise", remedy="record it again")
    return [torch.full((1, 2), float("nan") if item.startswith("nan") else 1.0) for item in batch]


def test_a_bad_item_loses_no_other(tmp_path):
    cache = cache_at(tmp_path)
    good = [f"good{i}" for i in range(9)]
    items = [*good[:2], "bad.wav", *good[2:5], "nan.wav", *good[5:]]

    def key_of(item):
        if item == "gone.wav":
            raise InputError(item, expected="a file", got="none", remedy="check the path")
        return cache.key(item)

    with pytest.raises(InputError) as error:
        fill(cache, [*items, "gone.wav"], key_of, failing, batch_size=4)
    assert not cache.missing(map(cache.key, good))
    assert "bad.wav: noise" in str(error.value) and "gone.wav: none" in str(error.value)
    assert "nan.wav (hidden states): NaN or infinity" in str(error.value) and "good" not in str(error.value)
    with pytest.raises(InputError, match=r"^bad\.wav: expected audio, got noise; record it again$"):
        fill(cache, [*good, "bad.wav"], cache.key, failing)
    with pytest.raises(InputError, match=r"bad9: noise; and 5 more; correct"):
        fill(cache, [f"bad{i}" for i in range(15)], cache.key, failing)
    told = []
    assert (
        fill(cache, [*items, "new"], cache.key, failing, on_error=lambda item, error: told.append((item, error.got)))
        == 1
    )
    assert sorted(told) == [("bad.wav", "noise"), ("nan.wav", "NaN or infinity")]


def test_what_ends_a_fill_leaves_what_was_stored(tmp_path):
    cache = cache_at(tmp_path, "float16")

    def compute(batch):
        if "crash" in batch:
            raise RuntimeError("out of memory")
        return [torch.full((1, 2), 1e5 if item == "large" else 1.0) for item in batch]

    for last, error in (
        ("crash", RuntimeError),
        ("large", InputError),
    ):  # too large for the encoder's other clips too: at once
        with pytest.raises(error, match=r"memory|float32"):
            fill(cache, ["a", "b", last, "c"], cache.key, compute, batch_size=1, on_error=lambda item, error: None)
        assert cache.missing(map(cache.key, ["a", "b", "c"])) == [cache.key("c")]
    with pytest.raises(ValueError, match="zip"):
        fill(cache, ["c", "d"], cache.key, lambda batch: [torch.ones(1, 2)])


@pytest.mark.parametrize("audio", ["wav2vec2", "wav2vec2-group", "whisper_audio_encoder"])
def test_cached_states_are_those_of_the_branches(tmp_path, audio):
    model = tiny_model(audio)
    branches = model.model
    clips = {f"{seconds}": synthetic_speech(seconds, seed=i) for i, seconds in enumerate((1.0, 0.4, 2.3, 0.7, 1.9))}
    sentences = ["hello world", "i am so happy", "dogs"]
    exact = cache_at(tmp_path, branch=branch_fingerprint(branches.audio_branch.encoder))
    half = cache_at(tmp_path, "float16", branch=exact.branch)
    text_branch = branches.text_branch
    words = cache_at(tmp_path, branch=branch_fingerprint(text_branch.encoder, str(text_branch.layer_weights.tolist())))

    def hear(names):
        batch = model.processor(audio=[clips[name] for name in names], sampling_rate=16000)
        features, mask = branches.get_audio_features(
            batch[model.processor.model_input_names[0]], batch["audio_attention_mask"]
        )
        return [row[:, frames] for row, frames in zip(features, mask, strict=True)]

    def read(texts):
        batch = model.processor(text=texts)
        features = branches.get_text_features(batch["input_ids"], batch["attention_mask"])
        return [row[mask.bool()] for row, mask in zip(features, batch["attention_mask"], strict=True)]

    for cache in (exact, half):
        assert fill(cache, list(clips), cache.key, hear, batch_size=3, length_of=lambda name: len(clips[name])) == 5
    assert fill(words, sentences, words.key, read) == 3
    with torch.no_grad():
        for name in clips:
            (alone,) = hear([name])
            stored = exact.get(exact.key(name))
            assert stored.shape == alone.shape and (stored - alone).abs().max() < 1e-5
            assert (half.get(half.key(name)).float() - alone).abs().max() < 2e-3 * alone.abs().max()
        for sentence in sentences:
            (alone,) = read([sentence])
            assert (words.get(words.key(sentence)) - alone).abs().max() < 1e-5
        logits = []
        for hidden, text in (
            (hear(["2.3"])[0], read(["dogs"])[0]),
            (exact.get(exact.key("2.3")), words.get(words.key("dogs"))),
        ):
            logits.append(model(audio_hidden_states=hidden[None], text_hidden_states=text[None]).logits)
        assert (logits[0] - logits[1]).abs().max() < 1e-5


def test_the_folder_says_what_it_holds_and_is_forgotten_whole(tmp_path):
    folder = tmp_path / "cache"
    cache, other = cache_at(folder), cache_at(folder, "float16", "other")
    for each in (cache, other):
        each.put(each.key("a"), states(2, 3))
    readme = (cache.directory / "README.txt").read_text()
    assert "personal data" in readme and "Delete this folder" in readme and "0123abcd" in readme
    tag = (cache.directory / "CACHEDIR.TAG").read_text().splitlines()  # https://bford.info/cachedir/
    assert tag[0] == "Signature: 8a477f597d28d172789f06886806bc55" and all(line.startswith("#") for line in tag[1:])
    assert stat.S_IMODE(cache.directory.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.rglob("*") if path.is_file())

    (folder / "mine").mkdir()
    for name in ("notes.txt", "mine/CACHEDIR.TAG", "mine/" + "0" * 64 + ".npy", "0123abcd-float32/mine.npy"):
        (folder / name).write_text("mine")
    (cache.directory / "unfinished-1").write_text("half an entry")
    assert EmbeddingCache.clear(folder) == 2
    assert files(folder) == sorted(
        ["notes.txt", "mine/CACHEDIR.TAG", "mine/" + "0" * 64 + ".npy", "0123abcd-float32/mine.npy"]
    )

    empty = tmp_path / "empty"
    again = cache_at(empty)
    again.put(again.key("a"), states(2, 3))
    assert EmbeddingCache.clear(empty) == 1 and not empty.exists() and EmbeddingCache.clear(empty) == 0


def test_what_cannot_be_a_cache_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cache_dir: expected a folder that can be written.*name another"):
        cache_at(tmp_path / "file")
    with pytest.raises(InputError, match="dtype: expected float16 or float32, got 'bfloat16'"):
        cache_at(tmp_path, "bfloat16")
    for branch in ("../up", "", "a/b", ".."):
        with pytest.raises(InputError, match="branch: expected a fingerprint"):
            cache_at(tmp_path, branch=branch)
    assert files(tmp_path) == ["file"]


def test_reading_is_mostly_copying(tmp_path):
    cache = cache_at(tmp_path, "float16")
    key, given = cache.key("a"), states(13, 185, 768)
    cache.put(key, given)
    batch = torch.zeros(13, 200, 768, dtype=torch.float16)

    def best(work):
        times = []
        for _ in range(20):
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return min(times)

    seconds = best(lambda: batch[:, :185].copy_(cache.get(key)))
    assert torch.equal(batch[:, :185], given.half())
    assert seconds < 3e-3 or seconds < 5 * best(
        lambda: batch[:, :185].copy_(given.half())
    )  # the latter: a machine that is busy
