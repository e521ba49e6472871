"""Which weights learn, how fast, and from which rows: freezing, groups, adapters, averages, mixup, masks, batches, pairs."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from test_training_loop import (
    arguments,
    before_step,
    clip_data,
    gradients,
    largest_difference,
    loop_of,
    still_model,
    weights_of,
    write_clips,
)
from torch import nn

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.errors import InputError
from multimodal_ser.model.losses import emotion_loss
from multimodal_ser.testing import tiny_model
from multimodal_ser.training import train
from multimodal_ser.training.batching import BatchPlanner, PairMaker, divided
from multimodal_ser.training.parameters import (
    Freezing,
    MovingAverage,
    add_adapters,
    layer_of,
    merged,
    parameter_groups,
    part_of,
)

AUDIO, TEXT = "model.audio_branch.encoder.", "model.text_branch.encoder."
NEVER = {AUDIO + "masked_spec_embed", AUDIO + "embed_positions.weight"}
"""What SpecAugment masks with is not used by a `still_model`; Whisper's sinusoids are no weights to learn."""


pytestmark = pytest.mark.usefixtures("fresh_accelerator")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"), 12)


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


# freezing


def is_front(name):
    return name.startswith((AUDIO + "feature_extractor.", AUDIO + "conv1.", AUDIO + "conv2."))


def in_layer(name, prefix, layers):
    return name.startswith(
        tuple(
            f"{prefix}{path}.{k}."
            for path in ("encoder.layers", "layers", "encoder.layer", "transformer.layer", "h")
            for k in layers
        )
    )


def is_last_norm(name):
    return name.startswith(
        (AUDIO + "layer_norm.", TEXT + "ln_f.")
    )  # Whisper's and GPT-2's, behind their highest layers


CASES = {
    "nothing": ({"freeze": []}, lambda name: True),
    "front": ({"freeze": ["audio_front"]}, lambda name: not is_front(name)),
    "audio": ({"freeze": ["audio"]}, lambda name: not name.startswith(AUDIO)),
    "text": ({"freeze": ["text"]}, lambda name: not name.startswith("model.text_branch.") or name.startswith("model.text_branch.projection")),
    "fusion": ({"freeze": ["fusion"]}, lambda name: name.startswith((AUDIO, TEXT, "classifier", "norm", "model.text_branch.layer_weights"))),
    "head": ({"freeze": ["head"]}, lambda name: name.startswith("model.")),
    "lower audio layers": (
        {"freeze": [], "freeze_audio_layers": 1}, lambda name: not name.startswith(AUDIO) or in_layer(name, AUDIO, [1]) or is_last_norm(name)
    ),
    "lower text layers": ({"freeze": [], "freeze_text_layers": 1}, lambda name: not name.startswith(TEXT) or in_layer(name, TEXT, [1])),
    "several": (
        {"freeze": ["audio", "fusion"], "freeze_text_layers": 2}, lambda name: name.startswith(("classifier", "norm", "model.text_branch.layer_weights"))
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("audio", "text"), [("wav2vec2-group", "bert"), ("whisper_audio_encoder", "distilbert")])
def test_frozen_parts_stay_and_all_others_learn(manifest, tmp_path, audio, text, case):
    options, learns = CASES[case]
    model = still_model(audio, text)
    loop = loop_of(
        model, arguments(manifest, max_steps=2, warmup_steps=0, per_device_train_batch_size=12, **options), tmp_path
    )
    before = weights_of(model)
    loop.run()
    assert changed(before, weights_of(model)) == {name for name in before if learns(name)} - NEVER
    for name, module in model.named_modules():
        own = [f"{name}.{weight}".removeprefix(".") for weight, _ in module.named_parameters()]
        if own:
            assert module.training == any(
                learns(weight) and not weight.endswith("embed_positions.weight") for weight in own
            ), name
    if case == "audio":
        assert not any(module.training for module in model.model.audio_branch.encoder.modules())  # dropouts too


def test_frozen_parts_may_learn_later_but_not_the_front(manifest, tmp_path):
    seen = []
    args = arguments(
        manifest, freeze=["audio_front", "audio", "text", "fusion"], unfreeze_epoch=2, num_train_epochs=3, warmup_steps=0,
        per_device_train_batch_size=12, ema_decay=0.5,
    )  # fmt: skip
    model = still_model("wav2vec2-group")
    loop = loop_of(model, args, tmp_path, evaluate=lambda epoch: seen.append(weights_of(model)) or {"ua": 0.0})
    before = weights_of(model)
    loop.run()
    head = {name for name in before if name.startswith(("classifier", "norm"))}
    assert changed(before, seen[0]) == changed(seen[0], seen[1]) == head
    assert changed(seen[1], seen[2]) == {name for name in before if not is_front(name)} - NEVER
    freezing = Freezing(still_model(), args)
    assert not freezing.is_frozen("audio") and not freezing.is_frozen("text")
    assert Freezing(still_model(), arguments(manifest, freeze=["audio"])).is_frozen("audio")


def test_dimensions_alone_leave_the_classifier(manifest):
    args = arguments(manifest, emotions=False, dimensions=["arousal"], label_smoothing_factor=0.1)
    trained = Freezing(still_model(dimensions=["arousal"]), args).ever_trained()
    assert "regressor.weight" in trained and not any(name.startswith("classifier") for name in trained)


def test_more_layers_than_there_are_are_refused(manifest):
    for branch, other in (("audio", "text"), ("text", "audio")):
        Freezing(still_model(), arguments(manifest, **{f"freeze_{branch}_layers": 2}))
        with pytest.raises(
            InputError, match=f'freeze_{branch}_layers: .* 3 of an encoder of 2; .*"{branch}" to freeze'
        ):
            Freezing(still_model(), arguments(manifest, freeze=[other], **{f"freeze_{branch}_layers": 3}))


# rates and gradients


@pytest.mark.parametrize(
    ("audio", "text"), [("wavlm", "roberta"), ("whisper_audio_encoder", "distilbert"), ("hubert", "gpt2")]
)
def test_each_part_and_layer_has_its_rate_and_only_matrices_decay(manifest, audio, text):
    args = arguments(
        manifest, layer_decay=0.5, learning_rate=1.0, audio_learning_rate=0.1, text_learning_rate=0.2, fusion_learning_rate=0.3,
        head_learning_rate=0.4, weight_decay=0.05,
    )  # fmt: skip
    model = still_model(audio, text)
    names = {id(weight): name for name, weight in model.named_parameters()}
    trained = Freezing(model, args).ever_trained()
    groups = parameter_groups(model, trained, args)
    found = {names[id(weight)]: (group["lr"], group["weight_decay"]) for group in groups for weight in group["params"]}
    assert found.keys() == trained.keys() and sum(len(group["params"]) for group in groups) == len(trained)
    for name, (rate, decay) in found.items():
        if name.startswith((AUDIO, TEXT)):
            top = 0.1 if name.startswith(AUDIO) else 0.2
            prefix = AUDIO if name.startswith(AUDIO) else TEXT
            wanted = (
                top
                if in_layer(name, prefix, [1]) or is_last_norm(name)
                else top / 2
                if in_layer(name, prefix, [0])
                else top / 4
            )
        elif name == "model.text_branch.layer_weights":
            wanted = 0.2
        else:
            wanted = 0.3 if name.startswith("model.") else 0.4
        assert rate == pytest.approx(wanted), name
        assert decay == (0.05 if model.get_parameter(name).dim() > 1 else 0.0), name
    unasked = arguments(manifest, learning_rate=1.0)
    assert {group["lr"] for group in parameter_groups(model, trained, unasked)} == {1.0, 1 / 20}


SCHEDULES = {
    "cosine": lambda share: 0.5 * (1 + math.cos(math.pi * share)), "linear": lambda share: 1 - share, "constant_with_warmup": lambda share: 1
}  # fmt: skip


@pytest.mark.parametrize("kind", SCHEDULES)
def test_rates_rise_and_fall_as_asked(manifest, tmp_path, kind):
    args = arguments(
        manifest, lr_scheduler_type=kind, warmup_steps=0.24, num_train_epochs=4, per_device_train_batch_size=4, learning_rate=1e-3,
        head_learning_rate=4e-3,
    )  # fmt: skip
    loop = loop_of(still_model(), args, tmp_path, count=9)
    rates = []
    before_step(loop, lambda: rates.append(sorted({group["lr"] for group in loop.optimizer.param_groups})))
    loop.run()
    warmup, steps = 3, 12  # 0.24 of 12, rounded up
    wanted = [
        step / warmup if step < warmup else SCHEDULES[kind]((step - warmup) / (steps - warmup)) for step in range(steps)
    ]
    assert rates[0] == [0]
    assert np.allclose(
        rates[1:], [(5e-5 * value, 1e-3 * value, 4e-3 * value) for value in wanted[1:]], rtol=1e-6, atol=0
    )


def test_parts_and_layers_of_names():
    assert [part_of(name) for name in (AUDIO + "x", TEXT + "x", "model.missing_text", "norm.bias")] == [
        "audio",
        "text",
        "fusion",
        "head",
    ]
    assert (
        layer_of(AUDIO + "encoder.layers.11.attention.q_proj.weight") == 11
        and layer_of(TEXT + "transformer.layer.3.ffn.lin1.bias") == 3
    )
    assert layer_of(AUDIO + "feature_extractor.conv_layers.3.conv.weight") is None
    assert (
        layer_of(TEXT + "h.7.attn.weight") == 7
        and layer_of(TEXT + "encoder.block.2.layer.0.SelfAttention.q.weight") == 2
    )


@pytest.mark.parametrize(("audio", "text"), [("wav2vec2-group", "bert"), ("whisper_audio_encoder", "roberta")])
def test_gradient_checkpointing_gives_the_same_gradients(manifest, audio, text):
    from accelerate.utils import set_seed
    from transformers.modeling_layers import GradientCheckpointingLayer

    model = tiny_model(audio, text).train()
    batch = clip_data(model, arguments(manifest)).batch(range(8))
    seen = []
    for checkpointing in (False, True):
        if checkpointing:
            enable = (
                getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
            )  # renamed in 5.2x
            enable({"use_reentrant": False})
            layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
            assert len(layers) >= 2 + 2 + 2 and all(layer.gradient_checkpointing for layer in layers)
        set_seed(3)
        model.zero_grad(set_to_none=True)
        model(**batch).loss.backward()
        seen.append(gradients(model))
    assert largest_difference(*seen) <= 1e-6
    set_seed(4)
    model.zero_grad(set_to_none=True)
    model(**batch).loss.backward()
    assert largest_difference(seen[0], gradients(model)) > 1e-4  # the dropout that had to be repeated was there


# adapters


@pytest.mark.filterwarnings(
    "ignore:fan_in_fan_out is set to False but the target module is"
)  # GPT-2's; peft sets it right
@pytest.mark.parametrize(
    ("audio", "text"),
    [
        ("whisper_audio_encoder", "distilbert"),
        ("wavlm", "roberta"),
        ("hubert", "xlm-roberta"),
        ("wav2vec2", "bert"),
        ("wav2vec2-bert", "gpt2"),
    ],
)
def test_merged_adapters_equal_unmerged_ones_and_leave_the_model_alone(manifest, audio, text):
    args = arguments(manifest, freeze=["audio", "text"], lora_rank=1, lora_dropout=0.1)
    model = tiny_model(audio, text)
    batch = clip_data(model, args).batch(range(8))
    keys = set(model.state_dict())
    whole = sum(weight.numel() for weight in model.parameters())
    with torch.inference_mode():
        before = model(**batch).logits
    adapted = add_adapters(model, args)
    assert len(adapted) == (
        6 if text == "gpt2" else 8
    )  # two projections of two layers of both encoders; GPT-2 has both in one
    freezing = Freezing(model, args)
    freezing.apply(0)
    trained = freezing.ever_trained()
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert learning == set(trained) and {name for name in trained if ".lora_" not in name} == {
        name for name in keys if part_of(name) in ("fusion", "head") and not name.endswith(("hidden_mean", "hidden_std"))
    }  # fmt: skip
    assert sum(weight.numel() for name, weight in trained.items() if ".lora_" in name) < 0.02 * whole
    model(
        **batch
    ).loss.backward()  # the second of each pair begins as zeros, so that the first learns from the second step on
    assert all(float(weight.grad.norm()) > 0 for name, weight in trained.items() if ".lora_B." in name)
    model.eval()
    with torch.inference_mode():
        assert torch.equal(model(**batch).logits, before)  # an adapter begins as nothing
        for name, weight in model.named_parameters():
            if ".lora_" in name:
                weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) / 4)
        held = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        one = merged(model)
        unmerged = model(**batch).logits
        assert (one.eval()(**batch).logits - unmerged).abs().max() < 1e-5 < (unmerged - before).abs().max()
    assert set(one.state_dict()) == keys and not any("lora" in name for name, _ in one.named_modules())
    assert (
        all(torch.equal(tensor, held[name]) for name, tensor in model.state_dict().items())
        and held.keys() == model.state_dict().keys()
    )


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks for it
@pytest.mark.parametrize(
    ("audio", "text", "branches"),
    [("whisper_audio_encoder", "distilbert", "both"), ("wavlm", "roberta", "both"), ("wavlm", "bert", "text")],
)
def test_runs_with_adapters_give_an_ordinary_checkpoint_and_an_adapter(manifest, tmp_path, audio, text, branches):
    from peft import PeftModel

    tiny_model(audio, text).save_pretrained(tmp_path / "model")
    args = arguments(
        manifest, model=str(tmp_path / "model"), output_dir=str(tmp_path / "run"), freeze=["audio", "text"], lora_rank=2, lora_alpha=32,
        lora_learning_rate=0.02, lora_branches=branches, num_train_epochs=2, validation_share=0,
    )  # fmt: skip
    best = train(args).model
    started, stored = load_file(tmp_path / "model" / "model.safetensors"), load_file(best / "model.safetensors")
    assert started.keys() == stored.keys()
    moved = changed(started, stored)
    assert {
        "classifier.weight",
        "model.fusion_layers.0.audio_to_text.q_proj.weight",
        "model.text_branch.projection.weight",
    } <= moved
    encoders = {name for name in moved if name.startswith((AUDIO, TEXT))}
    assert len(encoders) == (8 if branches == "both" else 4) and all(name.endswith(".weight") for name in encoders)
    assert branches == "both" or all(name.startswith(TEXT) for name in encoders)
    model = MultimodalEmotionClassifier.from_pretrained(best, whisper=None)
    assert not any("lora" in name for name, _ in model.named_parameters())
    batch = clip_data(model, args).batch(range(8))
    bare = MultimodalEmotionClassifier.from_pretrained(tmp_path / "model", whisper=None)
    with torch.inference_mode():
        logits, other = model(**batch).logits, bare(**batch).logits
        again = PeftModel.from_pretrained(bare, str(best / "adapter")).eval()(**batch).logits
    assert (logits - again).abs().max() < 1e-5 < 1e-2 < (logits - other).abs().max()
    counts = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))["parameters"]
    assert 0 < counts["adapters"] < counts["trained"] < counts["all"]


# the moving average


def test_the_average_is_of_the_weights_and_swapping_is_undone_to_the_bit():
    weight = nn.Parameter(torch.randn(5, generator=torch.Generator().manual_seed(0)))
    average = MovingAverage({"w": weight}, 0.6)
    wanted = weight.detach().clone()
    for step in range(1, 40):
        with torch.no_grad():
            weight.add_(torch.sin(torch.arange(5.0) * step))
        average.update(step)
        decay = min(0.6, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * weight.detach()
        assert torch.allclose(average.average["w"], wanted, atol=1e-5)
    held, mean = weight.detach().clone(), average.average["w"].clone()
    average.swap()
    assert torch.equal(weight, mean) and torch.equal(average.average["w"], held)
    average.swap()
    assert torch.equal(weight, held) and torch.equal(average.average["w"], mean)


def test_the_average_is_what_is_judged_and_kept_and_training_goes_on_from_the_weights(manifest, tmp_path):
    ends = []
    for decay in (0.0, 0.9):
        model, judged, kept = still_model(), [], []
        loop = loop_of(
            model, arguments(manifest, num_train_epochs=2, ema_decay=decay), tmp_path / f"{decay}", seed=1,
            evaluate=lambda epoch, model=model, judged=judged: judged.append(weights_of(model)) or {"ua": epoch},
            keep=lambda model=model, kept=kept: kept.append(weights_of(model)),
        )  # fmt: skip
        loop.run()
        ends.append(weights_of(model))
        assert all(not changed(one, other) for one, other in zip(judged, kept, strict=True)) and len(kept) == 2
        if decay:
            assert not changed(kept[1], loop.average.average)
        assert bool(changed(kept[1], ends[-1])) == bool(decay)
    assert not changed(*ends)


# mixup


def test_a_share_of_one_is_no_mixup_and_others_mix_vectors_and_losses(manifest):
    weights = [3.0, 1.0, 0.5]
    model = still_model(class_weights=weights, label_smoothing=0.1).train()
    batch = clip_data(model, arguments(manifest)).batch(range(12))
    labels = batch["labels"]
    index = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    plain = model(**batch)
    whole = model(**batch, mixup_index=index, mixup_share=torch.ones(12))
    assert torch.equal(whole.logits, plain.logits) and torch.equal(whole.loss, plain.loss)
    share = torch.linspace(0.5, 1, 12)
    output = model(**batch, mixup_index=index, mixup_share=share)
    mixed = share[:, None] * plain.embeddings + (1 - share[:, None]) * plain.embeddings[index]
    logits = model.classifier(model.norm(mixed))
    each = [
        [emotion_loss(logits[i : i + 1], some[i : i + 1], 0.1, weights).item() for i in range(12)]
        for some in (labels, labels[index])
    ]
    row_weights = [
        [float(torch.tensor(weights)[int(row.float().argmax())]) for row in some] for some in (labels, labels[index])
    ]
    by_hand = sum(
        float(share[i]) * row_weights[0][i] * each[0][i] + float(1 - share[i]) * row_weights[1][i] * each[1][i] for i in range(12)
    ) / sum(row_weights[0])  # fmt: skip
    assert torch.allclose(output.logits, logits, atol=1e-6) and output.loss.item() == pytest.approx(by_hand, rel=1e-5)


def test_shares_are_at_least_half_and_partners_a_permutation_drawn_anew(manifest, tmp_path):
    model, seen = still_model(), []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((kwargs["mixup_index"], kwargs["mixup_share"])), with_kwargs=True
    )
    loop_of(
        model, arguments(manifest, mixup_alpha=0.3, num_train_epochs=3, per_device_train_batch_size=4), tmp_path
    ).run()
    assert len(seen) == 9
    assert all(
        sorted(index.tolist()) == list(range(4)) and bool((share >= 0.5).all() and (share <= 1).all())
        for index, share in seen
    )
    assert len({tuple(share.tolist()) for _, share in seen}) == 9


# masked spans


@pytest.mark.parametrize("spans", [1, 3])
def test_spans_hide_at_most_an_eighth_each_of_true_frames_and_only_in_training(spans):
    branch = still_model(audio_mask_spans=spans).model.audio_branch
    lengths = torch.tensor([0, 1, 5, 8, 40, 97, 100])
    mask = torch.arange(100) < lengths[:, None]
    states = torch.randn(len(lengths), 3, 100, 32)
    inputs = []
    branch.projection.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    branch.eval()(states, mask)
    assert not (inputs.pop() == 0).all(-1).any()
    share = torch.zeros(len(lengths))
    for _ in range(200):
        branch.train()(states, mask)
        hidden = (inputs.pop() == 0).all(-1)
        assert not (hidden & ~mask).any()
        assert (hidden.sum(1) <= spans * (lengths / 8).ceil()).all()
        share += hidden.sum(1) / lengths.clamp_min(1) / 200
    assert (share[-3:] > spans / 8 * 0.35).all() and (
        share[-3:] < spans / 8 * 0.6
    ).all()  # half of an eighth each, less where they overlap
    branch.encoder.requires_grad_(False).eval()  # a frozen encoder changes nothing about it
    branch(states, mask)
    assert (inputs.pop() == 0).all(-1).any()


# batches


durations = st.lists(st.one_of(st.just(0.0), st.floats(0.05, 30.0)), min_size=1, max_size=120)


@settings(max_examples=60, deadline=None)
@given(durations, st.integers(1, 40), st.integers(0, 5))
def test_every_row_comes_once_an_epoch(lengths, rows, seed):
    planner = BatchPlanner(tuple(lengths), rows=rows, seed=seed)
    for epoch in range(2):
        steps = planner.epoch(epoch)
        assert sorted(row for step in steps for row in step) == list(range(len(lengths)))
        assert all(len(step) <= rows for step in steps) and steps == planner.epoch(epoch)
        assert len(steps) == planner.steps_per_epoch(epoch) and len(steps) <= len(lengths) // rows + 1
        assert all(
            [lengths[row] for row in step] == sorted((lengths[row] for row in step), reverse=True) for step in steps
        )


@settings(max_examples=60, deadline=None)
@given(durations, st.floats(1.0, 100.0), st.integers(0, 5))
def test_seconds_are_kept_padding_included(lengths, seconds, seed):
    planner = BatchPlanner(tuple(lengths), seconds=seconds, seed=seed)
    steps = planner.epoch(3)
    assert sorted(row for step in steps for row in step) == list(range(len(lengths)))
    for step in steps:
        assert len(step) == 1 or len(step) * max(lengths[row] or 1.0 for row in step) <= seconds


def test_buckets_waste_little_on_padding():
    lengths = tuple(torch.rand(500, generator=torch.Generator().manual_seed(0)).mul(9.5).add(0.5).tolist())
    for planner in (BatchPlanner(lengths, rows=16), BatchPlanner(lengths, seconds=80.0)):
        padded = sum(len(step) * max(lengths[row] for row in step) for step in planner.epoch(0))
        assert padded < 1.15 * sum(lengths)


def test_other_epochs_and_seeds_give_another_order():
    lengths = tuple(1.0 + k / 50 for k in range(200))
    plans = [BatchPlanner(lengths, rows=8, seed=seed).epoch(epoch) for seed in range(3) for epoch in range(3)]
    assert len({json.dumps(plan) for plan in plans}) == 9
    assert (
        len({json.dumps(sorted(sorted(step) for step in plan)) for plan in plans}) == 9
    )  # other neighbours, not only another order


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-1, 3), min_size=1, max_size=60), st.integers(0, 5))
def test_balanced_epochs_draw_each_class_as_often(classes, epoch):
    planner = BatchPlanner(tuple(1.0 for _ in classes), rows=7, classes=tuple(classes))
    drawn = [row for step in planner.epoch(epoch) for row in step]
    assert len(drawn) == len(classes)
    counts = {name: sum(classes[row] == name for row in drawn) for name in set(classes)}
    assert counts.pop(-1, 0) == classes.count(-1)
    assert not counts or max(counts.values()) - min(counts.values()) <= 1
    for name, count in counts.items():  # all rows of a class before any comes again
        times = [drawn.count(row) for row, own in enumerate(classes) if own == name]
        assert sum(times) == count and max(times) - min(times) <= 1
    others = [drawn.count(row) for row, own in enumerate(classes) if own == -1]
    assert set(others) <= {1}


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 50), st.integers(1, 6), st.integers(1, 5))
def test_a_step_is_divided_into_passes_and_processes(count, passes, processes):
    step = list(range(100, 100 + count))
    alone = divided(step, passes)
    shares = [divided(step, passes, process, processes) for process in range(processes)]
    assert [row for part in alone for row in part] == step and all(alone) and len(alone) == min(passes, count)
    assert {len(share) for share in shares} == {len(alone)}
    for number, part in enumerate(alone):
        mine = [share[number] for share in shares]
        assert sorted(row for rows in mine for row in rows) == part
        assert max(map(len, mine)) - min(map(len, mine)) <= 1


# pairs


def test_pairs_are_made_in_the_shares_that_were_asked_for():
    recordings, texts = (
        tuple([k % 3 for k in range(300)] + [-1] * 32),
        tuple([-1] * 300 + [k % 3 for k in range(30)] + [-1, -1]),
    )
    pairs = PairMaker(recordings, texts, matched=0.5, mismatched=0.2, seed=4)
    drawn = [[pairs.partner(row, epoch) for row in range(332)] for epoch in range(8)]
    assert drawn == [[pairs.partner(row, epoch) for row in range(332)] for epoch in range(8)] and drawn[0] != drawn[1]
    assert all(partner is None for epoch in drawn for partner in epoch[300:])
    made = [
        (recordings[row], texts[partner]) for epoch in drawn for row, partner in enumerate(epoch) if partner is not None
    ]
    assert all(text >= 0 for _, text in made)
    assert sum(own == text for own, text in made) / 2400 == pytest.approx(0.5, abs=0.04)
    assert sum(own != text for own, text in made) / 2400 == pytest.approx(0.2, abs=0.03)
    assert {(own, text) for own, text in made} == {(own, text) for own in range(3) for text in range(3)}
    assert all(PairMaker(recordings, texts).partner(row, 0) is None for row in range(332))
    lonely = PairMaker(
        (0, 1, -1), (-1, -1, 0), matched=0.5, mismatched=0.5
    )  # no words of the one, no others for the other
    assert (
        {lonely.partner(1, epoch) for epoch in range(40)}
        == {None, 2}
        == {lonely.partner(0, epoch) for epoch in range(40)}
    )


def test_a_mismatched_pair_is_half_of_each(manifest, tmp_path):
    from dataclasses import replace

    model = still_model()
    args = arguments(manifest, pair_mismatched=1.0)
    data = clip_data(model, args)
    data.targets = replace(data.targets, classes=data.targets.classes.float())
    only_heard = [row for row, clip in enumerate(data.clips) if clip.row.path and not clip.row.text]
    batch = data.batch(only_heard, 0)
    assert batch["attention_mask"].any(1).all() and batch["audio_attention_mask"].any(1).all()
    assert all(sorted(row.tolist()) == [0, 0.5, 0.5] for row in batch["labels"])
    assert all(batch["labels"][place, data.targets.single[row]] == 0.5 for place, row in enumerate(only_heard))
    assert "input_ids" not in clip_data(model, arguments(manifest)).batch(only_heard)
