"""transformers' Trainer with our data and metrics, for those who have their own callbacks, trackers or launchers around it.

python examples/train_with_trainer.py clips/ --output-dir trained        (clips/happy/*.wav, ... or a manifest)
accelerate launch --config_file examples/fsdp.yaml examples/train_with_trainer.py clips/

`multimodal-ser train` does more of it for you (embedding cache, batches of similar length, a run folder that resumes to the bit).
"""

from __future__ import annotations

import argparse

import torch
from transformers import EvalPrediction, Trainer, TrainingArguments

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.corpora import read_manifest, split_rows
from multimodal_ser.corpora.clips import examine
from multimodal_ser.corpora.targets import Targets
from multimodal_ser.metrics import scores
from multimodal_ser.training import TrainingArguments as Options
from multimodal_ser.training.data import ClipData
from multimodal_ser.training.parameters import Freezing, parameter_groups
from multimodal_ser.training.preparation import label_names


def main(data: str, output_dir: str, model: str | None, epochs: float, use_cpu: bool) -> dict[str, float]:
    clips, errors = examine([row for row in read_manifest(data).rows if row.label])
    labels = label_names(clip.row for clip in clips)
    split = split_rows([clip.row for clip in clips])
    print(*errors, split.protocol, *split.notes, sep="\n")

    classifier = MultimodalEmotionClassifier.from_pretrained(model, labels=labels)
    given = {"audio": any(clip.row.path for clip in clips), "text": any(clip.row.text for clip in clips)}
    classifier.config.trained_modalities = [name for name, there in given.items() if there]  # what `predict` will use
    options = Options(data=[data], learning_rate=1e-3)
    clip_data = ClipData(clips, Targets.of(clips, labels, ()), classifier.processor, options, seed=42, training=False)
    freezing = Freezing(
        classifier, options
    )  # the encoders stay as they are; Trainer turns their dropout on all the same
    freezing.apply(epoch=0)
    optimizer = torch.optim.AdamW(parameter_groups(classifier, freezing.ever_trained(), options))

    def measure(answers: EvalPrediction) -> dict[str, float]:
        return scores(answers.label_ids.argmax(1), answers.predictions.argmax(1), len(labels))

    trainer = Trainer(
        classifier,
        TrainingArguments(
            output_dir, num_train_epochs=epochs, per_device_train_batch_size=16, eval_strategy="epoch", save_strategy="epoch",
            load_best_model_at_end=True, metric_for_best_model="ua", remove_unused_columns=False, report_to="none", use_cpu=use_cpu,
            label_names=["labels"], ddp_find_unused_parameters=True,
        ),
        data_collator=clip_data.batch,  # rows by number in, the model's inputs and labels out
        train_dataset=list(split.train),
        eval_dataset=list(split.validation),
        compute_metrics=measure,
        optimizers=(optimizer, None),
    )  # fmt: skip
    trainer.train()
    figures = trainer.evaluate()
    trainer.save_model()
    if trainer.is_world_process_zero():
        reloaded = MultimodalEmotionClassifier.from_pretrained(output_dir)
        print(f"{output_dir}: {', '.join(reloaded.labels)}; validation UA {100 * figures['eval_ua']:.1f}")
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with a folder per emotion, or a manifest")
    parser.add_argument("--output-dir", default="trained")
    parser.add_argument("--model", help="checkpoint to start from (default: the one that ships in the package)")
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--use-cpu", action="store_true")
    main(**vars(parser.parse_args()))
