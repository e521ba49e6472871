"""Stage 2: MiniLM, its vocabulary pruned to what people write and say, learns which emotion a text tells."""

from __future__ import annotations

import csv
import json
import math
import time
from collections import Counter
from pathlib import Path

import torch
from sklearn.metrics import f1_score
from state import load_state, save_state
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModel, AutoTokenizer, BertTokenizer

from multimodal_ser.labels import EKMAN, EMOTIONS, admissible_classes, canonical_emotion
from multimodal_ser.model.losses import emotion_loss

VOCABULARY = 7000  # of 30,522 word pieces; every single character stays, so that any word can be spelt
MAX_TOKENS = 48


def read_texts(data: Path, split: str) -> list[tuple[str, str, str]]:
    """(corpus, text, emotion) of GoEmotions and of the English DailyDialog; several emotions of a text are joined by a bar."""
    texts = []
    for corpus, name in (("goemotions", "goemotions_ekman.csv"), ("dailydialog", "dailydialog.csv")):
        with open(data / "text" / name, newline="", encoding="utf-8") as file:
            texts += [
                (corpus, row["text"].strip(), row["emotion"])
                for row in csv.DictReader(file)
                if row["split"] == split and row.get("language", "en") == "en" and row["text"].strip()
            ]
    return texts


def split_off(texts: list[tuple[str, str, str]]) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """Training texts, and every twentieth single-label text of GoEmotions to select on."""
    validation = [
        row for index, row in enumerate(texts) if index % 20 == 0 and row[0] == "goemotions" and "|" not in row[2]
    ]
    held = {row[1] for row in validation}
    return [row for row in texts if row[1] not in held], validation


def prune_vocabulary(source: str, texts: list[str], folder: Path) -> BertTokenizer:
    """Keep specials, single characters and the most frequent word pieces; (folder) gets the new tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(source)
    counts: Counter[int] = Counter()
    for at in range(0, len(texts), 2000):
        for ids in tokenizer(texts[at : at + 2000], verbose=False)["input_ids"]:
            counts.update(ids)
    pieces = tokenizer.get_vocab()
    kept = {
        piece
        for piece in pieces
        if piece in tokenizer.all_special_tokens or (len(piece.removeprefix("##")) == 1 and piece.isascii())
    }
    for index, _ in counts.most_common():
        if len(kept) >= VOCABULARY:
            break
        kept.add(tokenizer.convert_ids_to_tokens(index))
    order = sorted(kept, key=lambda piece: pieces[piece])
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    description["model"]["vocab"] = {piece: index for index, piece in enumerate(order)}
    description["truncation"] = description["padding"] = None
    for token in description["added_tokens"]:
        token["id"] = order.index(token["content"])
    for token in description["post_processor"].get("special_tokens", {}).values():
        token["ids"] = [order.index(piece) for piece in token["tokens"]]
    if "sep" in description["post_processor"]:
        for name in ("sep", "cls"):
            description["post_processor"][name][1] = order.index(description["post_processor"][name][0])
    pruned = BertTokenizer(
        tokenizer_object=Tokenizer.from_str(json.dumps(description)), do_lower_case=True, model_max_length=512
    )
    pruned.save_pretrained(folder)
    return pruned


def pruned_encoder(source: str, tokenizer: BertTokenizer) -> nn.Module:
    """The encoder, with the embeddings of the tokens that were kept."""
    encoder = AutoModel.from_pretrained(
        source, dtype=torch.float32, add_pooling_layer=False, attn_implementation="eager"
    )
    old = AutoTokenizer.from_pretrained(source).get_vocab()
    rows = torch.tensor([old[piece] for piece, _ in sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])])
    embeddings = encoder.get_input_embeddings().weight.data[rows]
    encoder.set_input_embeddings(
        nn.Embedding.from_pretrained(embeddings, freeze=False, padding_idx=tokenizer.pad_token_id)
    )
    encoder.config.vocab_size = len(rows)
    return encoder


class TextClassifier(nn.Module):
    """Mean over the tokens and one linear layer: what the branch is trained with, and then left behind."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder, self.dropout, self.head = (
            encoder,
            nn.Dropout(0.2),
            nn.Linear(encoder.config.hidden_size, len(EMOTIONS)),
        )

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[..., None].to(states.dtype)
        return self.head(self.dropout((states * mask).sum(1) / mask.sum(1)))


def ekman_index(probabilities: torch.Tensor) -> list[int]:
    """Nine probabilities (B, 9) -> index into EKMAN; calm and boredom count as neutral."""
    merged = torch.stack([probabilities[:, EMOTIONS.index(name)] for name in EKMAN], 1)
    merged[:, EKMAN.index("neutral")] += (
        probabilities[:, EMOTIONS.index("calm")] + probabilities[:, EMOTIONS.index("boredom")]
    )
    return merged.argmax(1).tolist()


@torch.no_grad()
def macro_f1(model: nn.Module, tokenizer: BertTokenizer, rows: list[tuple[str, str, str]]) -> float:
    model.eval()
    predicted: list[int] = []
    for at in range(0, len(rows), 128):
        batch = tokenizer(
            [row[1] for row in rows[at : at + 128]], padding=True, truncation=True, max_length=128, return_tensors="pt"
        )
        predicted += ekman_index(model(batch["input_ids"], batch["attention_mask"]).float().softmax(-1))
    model.train()
    return float(f1_score([EKMAN.index(canonical_emotion(row[2])) for row in rows], predicted, average="macro"))


def train_text(data: Path, source: str, folder: Path, bf16: bool = True, epochs: int = 2, batch_size: int = 48) -> None:
    """Fine-tune, resuming from `folder`; write encoder and tokenizer there."""
    torch.manual_seed(1)
    everything, validation = split_off(read_texts(data, "train"))
    tokenizer = prune_vocabulary(source, [row[1] for row in everything], folder)
    # DailyDialog is four fifths neutral: of its neutral turns one in six
    texts = [row for i, row in enumerate(everything) if row[0] == "goemotions" or row[2] != "neutral" or i % 6 == 0]
    counts = Counter(canonical_emotion(name) for row in texts for name in row[2].split("|"))
    weights = [min((max(counts.values()) / counts[name]) ** 0.5, 4.0) if counts[name] else 1.0 for name in EMOTIONS]
    model = TextClassifier(pruned_encoder(source, tokenizer))
    print(
        f"text: {len(texts)} texts, {sum(p.numel() for p in model.encoder.parameters()) / 1e6:.2f} M parameters",
        flush=True,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1.5e-4, weight_decay=0.01)
    total = epochs * (len(texts) // batch_size)
    start, began, reported = load_state(folder / "state.safetensors", model, optimizer), time.monotonic(), 0.0
    order: list[list[int]] = []
    for step in range(start, total):
        epoch, index = divmod(step, total // epochs)
        if index == 0 or not order:  # batches of similar length, in random order
            generator = torch.Generator().manual_seed(epoch)
            shuffled = torch.randperm(len(texts), generator=generator).tolist()
            blocks = [
                sorted(shuffled[at : at + 50 * batch_size], key=lambda i: len(texts[i][1]))
                for at in range(0, len(texts), 50 * batch_size)
            ]
            batches = [block[at : at + batch_size] for block in blocks for at in range(0, len(block), batch_size)]
            order = [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
        rows = [texts[i] for i in order[index]]
        for group in optimizer.param_groups:
            group["lr"] = 1.5e-4 * min(1.0, (step + 1) / 150) * 0.5 * (1 + math.cos(math.pi * step / total))
        batch = tokenizer(
            [row[1] for row in rows], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        targets = torch.tensor([admissible_classes(row[2], row[0]) for row in rows])
        torch.manual_seed(10_000 + step)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model(batch["input_ids"], batch["attention_mask"])
        loss = emotion_loss(logits, targets, 0.05, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        reported += loss.item()
        if (step + 1) % 50 == 0:
            speed = (time.monotonic() - began) / (step + 1 - start)
            print(
                json.dumps(
                    {"step": step + 1, "of": total, "loss": round(reported / 50, 4), "seconds_a_step": round(speed, 3)}
                ),
                flush=True,
            )
            reported = 0.0
        if (step + 1) % 500 == 0 or step + 1 == total:
            save_state(folder / "state.safetensors", step + 1, model, optimizer)
            print(
                json.dumps({"step": step + 1, "validation_macro_f1": round(macro_f1(model, tokenizer, validation), 4)}),
                flush=True,
            )
    model.encoder.save_pretrained(folder)
