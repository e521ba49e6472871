"""Distillation: crops, the teacher's standardised states, what a student learns of them, and that a run goes on to the bit."""

import json

import numpy as np
import pytest
import soundfile as sf
import torch
from safetensors.torch import load_file
from transformers import AutoModel, Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model, WhisperConfig, WhisperModel

from multimodal_ser.errors import InputError
from multimodal_ser.model.modeling_whisper_audio_encoder import WhisperAudioEncoder
from multimodal_ser.testing import synthetic_speech, tiny_config, tiny_processor
from multimodal_ser.training.crops import Crops
from multimodal_ser.training.distillation import Distillation, Teacher, distil

RECORDINGS = [
    synthetic_speech(seconds, seed=seed, pitch=110 + 40 * seed) for seed, seconds in enumerate((0.6, 1.3, 0.9, 2.2))
]
OPTIONS = {
    "steps": 12,
    "batch_size": 4,
    "seconds": 0.8,
    "save_steps": 4,
    "warmup_steps": 2,
    "use_cpu": True,
    "disable_tqdm": True,
}


pytestmark = pytest.mark.usefixtures("fresh_accelerator")


def encoder(family="wav2vec2", seed=0, **fields):
    torch.manual_seed(seed)
    config = tiny_config(family).audio_config
    config.update(fields)
    return AutoModel.from_config(config).eval()


def new_student(seed=5, **fields):
    fields = {"hidden_dropout": 0.1, "attention_dropout": 0.0, "mask_time_prob": 0.0} | fields
    return encoder(seed=seed, **fields)


def new_teacher(family="whisper_audio_encoder", layers=(0, 1, 2), **options):
    return Teacher(encoder(family, seed=1), tiny_processor(family).feature_extractor, layers=layers, **options)


def losses(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "train_loss" in line]


class TestCrops:
    def test_a_crop_is_a_function_of_seed_and_number(self):
        crops, again = Crops(RECORDINGS, seconds=1.5, seed=3), Crops(RECORDINGS, seconds=1.5, seed=3)
        batch = crops.batch(range(6))
        assert batch.shape == (6, 24000) and batch.dtype == np.float32
        assert np.array_equal(again.crop(4), batch[4])  # whatever was drawn before it
        assert not np.array_equal(Crops(RECORDINGS, seconds=1.5, seed=4).crop(4), batch[4])
        assert len({crop.tobytes() for crop in batch}) == 6
        assert np.abs(batch).max() <= 0.5 * 10 ** (3 / 20) + 1e-6

    def test_recordings_lie_end_to_end(self):
        steps = [np.full(size, value, np.float32) for size, value in ((4000, 0.1), (9000, 0.2))]
        crop = Crops(steps, seconds=2.0, gain=0.0).crop(0)
        assert np.all(crop == 0.5)  # no gap, each at its peak

    def test_gain_is_of_the_whole_crop(self):
        quiet, loud = Crops(RECORDINGS, gain=0.0), Crops(RECORDINGS, gain=6.0)
        factors = [
            loud.crop(i)[np.abs(quiet.crop(i)) > 0.1] / quiet.crop(i)[np.abs(quiet.crop(i)) > 0.1] for i in range(20)
        ]
        assert all(np.ptp(factor) < 1e-5 for factor in factors)
        decibels = [20 * np.log10(factor.mean()) for factor in factors]
        assert -6 <= min(decibels) < -2 and 2 < max(decibels) <= 6

    def test_a_long_recording_is_heard_everywhere(self):
        ramp = np.linspace(0, 1, 160_000, dtype=np.float32)
        heard = [Crops([ramp], seconds=1.0, gain=0.0, seed=seed).crop(0)[0] for seed in range(60)]
        assert min(heard) < 0.05 and max(heard) > 0.4

    def test_files_are_read_and_bad_ones_named(self, tmp_path):
        sf.write(tmp_path / "good.wav", RECORDINGS[1], 16000)
        (tmp_path / "bad.wav").write_bytes(b"no audio at all")
        said = []
        crops = Crops(
            [tmp_path / "good.wav", tmp_path / "bad.wav", np.array([np.nan] * 16000)], seconds=0.5, say=said.append
        )
        for index in range(20):
            assert np.abs(crops.crop(index)).max() > 0
        assert set(crops.errors) == {1, 2} and len(said) == 2
        assert any("recording 1" in line and "bad.wav" in line for line in said)
        alone = Crops([tmp_path / "good.wav"], seconds=0.5, seed=1)
        assert np.abs(alone.crop(0)).max() > 0

    @pytest.mark.parametrize(
        ("recordings", "options", "told"),
        [
            ([], {}, "at least one recording"), ("folder/a.wav", {}, "a list of recordings"), (RECORDINGS, {"seconds": 0.05}, "seconds"),
            (RECORDINGS, {"gain": -1.0}, "gain"), (RECORDINGS, {"seconds": float("nan")}, "seconds"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_cropped_is_refused(self, recordings, options, told):
        with pytest.raises(InputError, match=told):
            Crops(recordings, **options)

    def test_no_readable_recording(self):
        crops = Crops(["no/such/file.wav", np.zeros(3, np.float32)])
        with pytest.raises(InputError, match=r"can be read, got 2, none of which.*"):
            crops.crop(0)


class TestTeacher:
    @pytest.mark.parametrize("mean_per_frame", [True, False])
    @pytest.mark.parametrize("family", ["whisper_audio_encoder", "hubert"])
    def test_targets_are_standardised_per_feature(self, family, mean_per_frame):
        teacher, crops = new_teacher(family, mean_per_frame=mean_per_frame), Crops(RECORDINGS, seconds=0.8)
        numbers = [range(5), range(5, 10), range(10, 12)]
        teacher.measure(crops.batch(some) for some in numbers)
        parts = [teacher.targets(teacher.inputs(crops.batch(some))) for some in numbers]
        for layer in zip(*parts, strict=True):
            target = torch.cat(layer)
            assert torch.allclose(target.mean((0, 1)), torch.zeros(32), atol=1e-4)
            assert torch.allclose(target.std((0, 1), correction=0), torch.ones(32), atol=1e-3)
            if mean_per_frame:
                assert target.mean(0).abs().max() < 1e-3

    def test_positions_are_taken_out(self):
        plain = new_teacher(layers=[0])
        shifted = new_teacher(layers=[0])
        with torch.no_grad():  # other positions, the same sounds
            shifted.encoder.embed_positions.weight.add_(torch.randn(1500, 32) * 3)
        crops = Crops(RECORDINGS, seconds=0.8)
        for teacher in (plain, shifted):
            teacher.measure([crops.batch(range(8))])
        one, other = (teacher.targets(teacher.inputs(crops.batch([20, 21])))[0] for teacher in (plain, shifted))
        assert torch.allclose(one, other, atol=1e-3)

    def test_it_never_trains_and_gives_no_gradient(self):
        teacher = new_teacher("hubert").train()
        assert not any(module.training for module in teacher.modules())
        assert not any(weight.requires_grad for weight in teacher.parameters())
        crops = Crops(RECORDINGS, seconds=0.8)
        teacher.measure([crops.batch(range(2))])
        assert not any(target.requires_grad for target in teacher.targets(teacher.inputs(crops.batch([1]))))

    def test_a_whisper_gives_its_lowest_layers(self):
        torch.manual_seed(0)
        sizes = {
            "d_model": 16,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
        }
        whisper = WhisperModel(
            WhisperConfig(
                encoder_layers=3,
                decoder_layers=1,
                vocab_size=99,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
                **sizes,
            )
        )
        teacher = Teacher(whisper, tiny_processor("whisper_audio_encoder").feature_extractor, layers=[2, 1])
        assert isinstance(teacher.encoder, WhisperAudioEncoder) and len(teacher.encoder.layers) == 2
        reference = WhisperAudioEncoder.from_whisper(whisper).eval()
        inputs = teacher.inputs(Crops(RECORDINGS, seconds=0.8).batch([0]))
        states = reference(inputs, output_hidden_states=True).hidden_states
        assert all(
            torch.allclose(ours, states[layer], atol=1e-5)
            for ours, layer in zip(teacher.states(inputs), (2, 1), strict=True)
        )
        assert all(
            weight.requires_grad for name, weight in whisper.encoder.named_parameters() if "embed_positions" not in name
        )

    def test_it_loads_by_name(self, tmp_path):
        saved = encoder("hubert")
        saved.save_pretrained(tmp_path)
        Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(tmp_path)
        teacher = Teacher(tmp_path, layers=[1])
        inputs = teacher.inputs(Crops(RECORDINGS, seconds=0.8).batch([0]))
        assert abs(float(inputs.mean())) < 1e-4 and abs(float(inputs.std()) - 1) < 1e-2
        expected = saved(inputs, output_hidden_states=True).hidden_states[1]
        assert torch.allclose(teacher.states(inputs)[0], expected, atol=1e-5)

    def test_what_cannot_teach_is_refused(self, tmp_path):
        for layers in ([3], [-1], [], [0.5]):
            with pytest.raises(InputError, match="layers: expected numbers from 0 to 2"):
                new_teacher(layers=layers)
        with pytest.raises(InputError, match="extractor: expected that of the encoder"):
            Teacher(encoder(), layers=[1])
        with pytest.raises(InputError, match="a trained speech encoder"):
            Teacher(tmp_path, layers=[1])
        teacher, crops = new_teacher(), Crops(RECORDINGS, seconds=0.8)
        with pytest.raises(InputError, match="call teacher"):
            teacher.targets(teacher.inputs(crops.batch([0])))
        with pytest.raises(InputError, match="at least one batch"):
            teacher.measure([])
        teacher.measure([crops.batch([0, 1])])
        with pytest.raises(InputError, match="the 40 that were measured, got 50"):
            teacher.targets(teacher.inputs(Crops(RECORDINGS, seconds=1.0).batch([0])))


class TestDistillation:
    @pytest.mark.parametrize("shift", [2, 0, -3])
    def test_frames_are_aligned(self, shift):
        """A teacher who says the same as the student, so many frames later or earlier, has nothing to teach at that shift alone."""
        student = encoder()
        waveforms = torch.randn(2, 16000)
        states = student(waveforms, output_hidden_states=True).hidden_states
        before = torch.randn(2, max(0, shift), 32)
        targets = [torch.cat([before, state[:, max(0, -shift) :]], 1).detach() for state in states]
        found = {
            k: Distillation(student, [32] * 3, layers=[0, 1, 2], shift=k)(waveforms, targets)
            for k in (shift, shift + 1, shift - 1)
        }
        assert found[shift].loss < 1e-4 and torch.all(found[shift].cosines > 0.9999)
        assert min(found[shift + 1].loss, found[shift - 1].loss) > 0.1

    def test_loss_is_l1_and_cosine_summed_over_layers(self):
        student, waveforms = encoder(), torch.randn(2, 16000)
        states = student(waveforms, output_hidden_states=True).hidden_states
        targets = [torch.randn(2, states[0].shape[1], 32) for _ in range(2)]
        output = Distillation(student, [32, 32], layers=[1, 2], cosine_weight=0.7)(waveforms, targets)
        cosines = [
            torch.cosine_similarity(states[k], target, dim=-1).mean() for k, target in zip((1, 2), targets, strict=True)
        ]
        differences = [(states[k] - target).abs().mean() for k, target in zip((1, 2), targets, strict=True)]
        assert torch.allclose(output.loss, sum(differences) + 0.7 * (2 - sum(cosines)), atol=1e-5)
        assert torch.allclose(output.cosines, torch.stack(cosines), atol=1e-5)

    def test_gradients_reach_student_and_maps(self):
        student = encoder()
        model = Distillation(student, [24, 32], layers=[2, 2])  # another width, one layer for two
        model(torch.randn(2, 8000), [torch.randn(2, 25, 24), torch.randn(2, 25, 32)]).loss.backward()
        reached = {
            name for name, weight in model.named_parameters() if weight.grad is not None and weight.grad.abs().max() > 0
        }
        assert {"maps.0.weight", "maps.1.bias", "student.feature_extractor.conv_layers.0.conv.weight"} <= reached
        assert any(name.startswith("student.encoder.layers.1.") for name in reached)

    def test_layers_have_to_fit(self):
        with pytest.raises(InputError, match="student_layers: expected numbers from 0 to 2"):
            Distillation(encoder(), [32], layers=[3])
        with pytest.raises(InputError, match="one for each of the 2 layers"):
            Distillation(encoder(), [32, 32], layers=[1])
        with pytest.raises(InputError, match="shift: expected frames that lie on each other"):
            Distillation(encoder(), [32], layers=[1], shift=99)(torch.randn(1, 8000), [torch.randn(1, 25, 32)])


class TestDistil:
    @pytest.mark.parametrize("bf16", [False, True])
    def test_the_student_learns(self, tmp_path, bf16):
        said, student = [], new_student()
        options = OPTIONS | {
            "steps": 60,
            "save_steps": 20,
            "learning_rate": 3e-3,
            "front_learning_rate": 5e-3,
            "bf16": bf16,
        }
        folder = distil(student, new_teacher(), RECORDINGS, tmp_path / "student", say=said.append, **options)
        found = losses(folder)
        assert len(found) == 3 and found[-1] < 0.95 * found[0] and sorted(found, reverse=True) == found
        assert not student.training and any("60" not in line and "cosine similarity" in line for line in said)
        line = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
        assert all(-1 <= line[f"cosine_{layer}"] <= 1 for layer in (0, 1, 2)) and line["cosine_2"] > 0.1
        written = Wav2Vec2Model.from_pretrained(folder)
        assert all(weight.dtype == torch.float32 for weight in written.parameters())
        assert all(torch.equal(ours, student.state_dict()[name]) for name, ours in written.state_dict().items())
        assert Wav2Vec2FeatureExtractor.from_pretrained(folder).do_normalize

    def test_stopped_and_called_again_it_is_the_same_to_the_bit(self, tmp_path):
        """Bfloat16, dropout and masking are on; the run is killed after its first checkpoint, and in its last step."""
        options = OPTIONS | {"learning_rate": 3e-3, "front_learning_rate": 1e-3}

        def run(folder, stop_at=None, **changes):
            def say(line):
                if stop_at is not None and line.startswith(stop_at):
                    raise KeyboardInterrupt

            torch.manual_seed(stop_at is None)  # what was drawn before does not matter
            student = new_student(mask_time_prob=0.2)
            try:
                distil(student, new_teacher(), RECORDINGS, folder, say=say, **options | changes)
            except KeyboardInterrupt:
                return None
            return student

        whole = run(tmp_path / "whole").state_dict()
        assert run(tmp_path / "parts", "epoch 2") is None and not (tmp_path / "parts" / "model.safetensors").exists()
        assert [path.name for path in (tmp_path / "parts" / "checkpoints").iterdir()] == ["step-00000004"]
        assert run(tmp_path / "parts", "epoch 3") is None
        resumed = run(tmp_path / "parts").state_dict()
        assert all(torch.equal(weight, resumed[name]) for name, weight in whole.items())
        assert (tmp_path / "whole" / "model.safetensors").read_bytes() == (
            tmp_path / "parts" / "model.safetensors"
        ).read_bytes()
        state = [
            load_file(tmp_path / name / "checkpoints" / "step-00000012" / "trained.safetensors")
            for name in ("whole", "parts")
        ]
        assert {"distillation.maps.0.weight", "teacher.mean_0", "teacher.scale_2"} <= set(state[0])
        assert all(torch.equal(tensor, state[1][name]) for name, tensor in state[0].items())
        assert not any(name.startswith("teacher.encoder.layers") for name in state[0])
        assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
        again = run(tmp_path / "parts").state_dict()  # a run that has ended
        assert all(torch.equal(weight, again[name]) for name, weight in whole.items())
        with pytest.raises(InputError, match=r"seed 1 instead of 0.*another output_dir"):
            run(tmp_path / "parts", seed=1)

    def test_accumulated_passes_are_one_step(self, tmp_path):
        options = OPTIONS | {"bf16": False, "save_steps": 2}
        for passes in (1, 3):
            student = new_student(hidden_dropout=0.0, activation_dropout=0.0)
            distil(
                student,
                new_teacher(),
                RECORDINGS,
                tmp_path / str(passes),
                gradient_accumulation_steps=passes,
                **options,
            )
        assert losses(tmp_path / "1") == pytest.approx(losses(tmp_path / "3"), abs=1e-5)

    def test_rates_and_what_is_frozen(self, tmp_path):
        """With a vanishing rate for the front only the rest moves; what has no gradient stays as it is."""
        student = new_student()
        student.encoder.layers[0].requires_grad_(False)
        before = {name: weight.clone() for name, weight in student.state_dict().items()}
        distil(student, new_teacher(), RECORDINGS, tmp_path, **OPTIONS, front_learning_rate=1e-12, weight_decay=0.0)
        moved = {name for name, weight in student.named_parameters() if (weight - before[name]).abs().max() > 1e-6}
        assert any(name.startswith("encoder.layers.1.") for name in moved)
        assert not any(name.startswith(("encoder.layers.0.", "feature_", "encoder.pos_conv")) for name in moved)

    def test_an_encoder_of_spectrograms_learns_from_one_of_waveforms(self, tmp_path):
        student, extractor = encoder("whisper_audio_encoder"), tiny_processor("whisper_audio_encoder").feature_extractor
        options = {"student_layers": [2, 2], "student_extractor": extractor, "dataloader_num_workers": 1}
        folder = distil(student, new_teacher("hubert", layers=[0, 2]), RECORDINGS, tmp_path, **OPTIONS | options)
        assert (
            folder == tmp_path
            and len(losses(folder)) == 3
            and WhisperAudioEncoder.from_pretrained(folder).config.encoder_layers == 2
        )

    def test_what_does_not_fit_is_refused_before_anything_is_written(self, tmp_path):
        def refused(match, *, student=None, recordings=RECORDINGS, teacher=None, **changes):
            with pytest.raises(InputError, match=match):
                distil(
                    student or new_student(),
                    teacher or new_teacher(),
                    recordings,
                    tmp_path / "run",
                    **OPTIONS | changes,
                )

        slow = Wav2Vec2Model(Wav2Vec2Config(**new_student().config.to_dict() | {"conv_stride": [5, 8, 16]}))
        refused("about 50 frames a second, as the teacher has, got about 2", student=slow)
        refused("recordings: expected at least one", recordings=[])
        refused("recordings that can be read", recordings=["no/such/file.wav"])
        refused("student_layers: expected one for each of the 3", student_layers=[1])
        refused("student_layers: expected numbers from 0 to 2", student_layers=[0, 1, 5])
        refused("student_layers: expected numbers from 0 to 1", student=new_student(num_hidden_layers=1))
        refused("shift", shift=500)
        refused("steps: expected a whole number", steps=0)
        refused("learning_rate", learning_rate=0.0)
        refused("front_learning_rate", front_learning_rate=-1.0)
        refused("student_extractor: expected an encoder of waveforms", student=encoder("whisper_audio_encoder"))
        refused("16000 Hz", student_extractor=Wav2Vec2FeatureExtractor(sampling_rate=8000))
        frozen = new_student()
        frozen.feature_extractor._freeze_parameters()
        frozen.feature_projection.requires_grad_(False)
        frozen.encoder.pos_conv_embed.requires_grad_(False)
        refused("front_learning_rate: expected a front that is trained", student=frozen, front_learning_rate=1e-3)
        refused("all of them frozen", student=new_student().requires_grad_(False))
        assert not (tmp_path / "run").exists()

    def test_a_process_has_one_precision(self, tmp_path):
        from accelerate import Accelerator

        Accelerator(mixed_precision="no", cpu=True)
        with pytest.raises(InputError, match="bf16, use_cpu"):
            distil(new_student(), new_teacher(), RECORDINGS, tmp_path, **OPTIONS)
