"""Fine-tune the shipped checkpoint on your own clips: the loop to copy and change. `accelerate launch` runs it on several devices.

python examples/finetune.py clips/ --output-dir my-model        (clips/happy/*.wav, clips/sad/*.wav, ... or a manifest.csv)
"""

import argparse

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object, send_to_device, set_seed

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.corpora import read_manifest, split_rows
from multimodal_ser.corpora.clips import examine
from multimodal_ser.corpora.targets import Targets
from multimodal_ser.metrics import scores
from multimodal_ser.training import TrainingArguments
from multimodal_ser.training.batching import BatchPlanner
from multimodal_ser.training.data import ClipData
from multimodal_ser.training.parameters import Freezing, parameter_groups
from multimodal_ser.training.preparation import label_names


def main(data: str, output_dir: str, model: str | None, epochs: int, batch_size: int) -> None:
    accelerator = Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    set_seed(42)
    args = TrainingArguments(
        data=[data], num_train_epochs=epochs, learning_rate=1e-3
    )  # what is frozen, and how fast what learns

    manifest = read_manifest(data)
    clips, errors = examine(
        [row for row in manifest.rows if row.label]
    )  # decodes each recording once: bad ones are named now
    labels = label_names(clip.row for clip in clips)
    split = split_rows([clip.row for clip in clips])  # whole speakers are held out, where speakers are known
    accelerator.print(*manifest.errors, *errors, split.protocol, *split.notes, sep="\n")

    classifier = MultimodalEmotionClassifier.from_pretrained(model, labels=labels)
    given = {"audio": any(clip.row.path for clip in clips), "text": any(clip.row.text for clip in clips)}
    classifier.config.trained_modalities = [name for name, there in given.items() if there]  # what `predict` will use
    everything = ClipData(clips, Targets.of(clips, labels, ()), classifier.processor, args, seed=42, training=False)
    train, validation = everything.only(split.train, training=True), everything.only(split.validation)
    first, processes = accelerator.process_index, accelerator.num_processes
    planner = BatchPlanner(train.durations, rows=batch_size * processes, seed=42)  # a step each: rows of similar length

    freezing = Freezing(classifier, args)  # the encoders stay as they are, fusion and head learn
    optimizer = torch.optim.AdamW(parameter_groups(classifier, freezing.ever_trained(), args))
    freezing.apply(epoch=0)
    wrapped, optimizer = accelerator.prepare(classifier, optimizer)

    best = -1.0
    for epoch in range(epochs):
        freezing.apply(epoch)  # what is frozen runs as in evaluation
        for rows in planner.epoch(epoch):
            share = rows[first::processes] or rows[:1]  # all processes have to take part in every step
            loss = wrapped(**send_to_device(train.batch(share, epoch), accelerator.device)).loss
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(wrapped.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        classifier.eval()
        answers = []
        for row in range(first, len(validation), processes):
            with torch.inference_mode():
                logits = classifier(**send_to_device(validation.batch([row]), accelerator.device)).logits
            answers.append((int(validation.targets.classes[row].float().argmax()), int(logits.argmax())))
        answers = gather_object(answers)
        recall = scores(*zip(*answers, strict=True), len(labels))["ua"] if answers else 0.0
        accelerator.print(f"epoch {epoch + 1} of {epochs}: loss {loss.item():.3f}, validation UA {100 * recall:.1f}")
        if recall >= best:  # the best epoch is kept, of equals the last
            best = recall
            if accelerator.is_main_process:
                classifier.save_pretrained(output_dir)
    accelerator.end_training()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with a folder per emotion, or a manifest")
    parser.add_argument("--output-dir", default="finetuned")
    parser.add_argument("--model", help="checkpoint to start from (default: the one that ships in the package)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    main(**vars(parser.parse_args()))
