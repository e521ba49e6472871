"""Fine-tune the shipped checkpoint on your own clips: the loop to copy and change. `accelerate launch` runs it on several devices.

python examples/finetune.py clips/ --output-dir my-model        (clips/happy/*.wav, clips/sad/*.wav, ... or a manifest.csv)
"""

import argparse

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, gather_object, set_seed

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.corpora import read_manifest, split_rows
from multimodal_ser.metrics import scores
from multimodal_ser.training import TrainingArguments
from multimodal_ser.training.batching import BatchPlanner
from multimodal_ser.training.data import ClipData, Targets, examine
from multimodal_ser.training.parameters import Freezing, parameter_groups
from multimodal_ser.training.preparation import label_names


def main(data: str, output_dir: str, epochs: int, batch_size: int, learning_rate: float) -> float:
    accelerator = Accelerator(kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    set_seed(42)
    args = TrainingArguments(data=[data], num_train_epochs=epochs, learning_rate=learning_rate)  # what is frozen, and how fast what learns

    clips, errors = examine(read_manifest(data).rows)  # every recording is decoded once: bad ones are named now
    for error in errors:
        accelerator.print(error)
    labels = label_names(clip.row for clip in clips)
    split = split_rows([clip.row for clip in clips])  # whole speakers are held out, where speakers are known
    accelerator.print(split.protocol, *split.notes, sep="\n")

    model = MultimodalEmotionClassifier.from_pretrained(labels=labels)
    targets = Targets.of(clips, labels, dimensions=())
    everything = ClipData(clips, targets, model.processor, args, seed=42, training=False)
    train, validation = everything.only(split.train, training=True), everything.only(split.validation)
    planner = BatchPlanner(train.durations, rows=batch_size * accelerator.num_processes, seed=42)

    freezing = Freezing(model, args)  # the encoders stay as they are, fusion and head learn
    freezing.apply(epoch=0)
    optimizer = torch.optim.AdamW(parameter_groups(model, freezing.ever_trained(), args))
    model, optimizer = accelerator.prepare(model, optimizer)

    recall = 0.0
    for epoch in range(epochs):
        freezing.apply(epoch)  # what is frozen runs as in evaluation
        for rows in planner.epoch(epoch):
            share = rows[accelerator.process_index :: accelerator.num_processes] or rows[:1]
            batch = {name: tensor.to(accelerator.device) for name, tensor in train.batch(share, epoch).items()}
            loss = model(**batch).loss
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        model.eval()
        answers = []
        for row in range(accelerator.process_index, len(validation), accelerator.num_processes):
            batch = {name: tensor.to(accelerator.device) for name, tensor in validation.batch([row]).items()}
            with torch.inference_mode():
                answers.append((validation.targets.single[row], int(model(**batch).logits.argmax())))
        answers = gather_object(answers)
        if answers:
            recall = scores(*zip(*answers, strict=True), len(labels))["ua"]
        accelerator.print(f"epoch {epoch + 1} of {epochs}: loss {loss.item():.3f}, validation UA {100 * recall:.1f}")

    if accelerator.is_main_process:
        accelerator.unwrap_model(model).save_pretrained(output_dir)
    return recall


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with a folder per emotion, or a manifest")
    parser.add_argument("--output-dir", default="finetuned")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    main(**vars(parser.parse_args()))
