"""Low-rank adapters in both branches (https://arxiv.org/abs/2106.09685): little is trained, little is kept, nothing is slower in use.

python examples/train_lora.py clips/ --rank 8        (clips/happy/*.wav, ... or a manifest)

The run leaves two forms of the same model: RUN/best, an ordinary checkpoint into which the adapters are merged, and RUN/best/adapter,
which peft puts beside the weights that training began with.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from peft import PeftModel

from multimodal_ser import MultimodalEmotionClassifier
from multimodal_ser.testing import synthetic_speech
from multimodal_ser.training import TrainingArguments, train


def main(data: str, output_dir: str, rank: int, model: str | None, epochs: int) -> float:
    result = train(
        TrainingArguments(data=[data], output_dir=output_dir, lora_rank=rank, model=model, num_train_epochs=epochs)
    )
    merged = MultimodalEmotionClassifier.from_pretrained(result.model)
    beginning = MultimodalEmotionClassifier.from_pretrained(model, labels=merged.labels)
    unmerged = PeftModel.from_pretrained(beginning, str(result.model / "adapter")).eval()

    batch = merged.processor(audio=[synthetic_speech(2.0)], text=["so happy"], sampling_rate=16_000)
    with torch.inference_mode():
        difference = float((merged(**batch).logits - unmerged(**batch).logits).abs().max())
    sizes = {name: sum(path.stat().st_size for path in Path(folder).glob("*.safetensors")) / 1e6
             for name, folder in (("adapter", result.model / "adapter"), ("merged", result.model))}  # fmt: skip
    print(
        f"adapter {sizes['adapter']:.1f} MB, merged model {sizes['merged']:.1f} MB; their logits differ by {difference:.1e}"
    )
    return difference


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with a folder per emotion, or a manifest")
    parser.add_argument("--output-dir", default="lora")
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--model", help="checkpoint to start from (default: the one that ships in the package)")
    parser.add_argument("--epochs", type=int, default=15)
    main(**vars(parser.parse_args()))
