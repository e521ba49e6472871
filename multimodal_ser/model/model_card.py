"""The model card that `save_pretrained` writes: what is known of the model, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelCard, ModelCardData

if TYPE_CHECKING:
    from .configuration_multimodal_ser import MultimodalEmotionConfig

BODY = """---
{card_data}
---

# Emotion recognition from speech and its transcript

A `{audio}` audio branch and a `{text}` text branch, joined by {layers} cross-attention layers; {parameters:.1f} M parameters.
Written by `multimodal_ser`; training data and measurements are not known to the function that wrote this card. Add them here.

## How to use

```python
from multimodal_ser import MultimodalEmotionClassifier

classifier = MultimodalEmotionClassifier.from_pretrained("PATH_OR_HUB_ID")
prediction = classifier.predict("call.wav")
print(prediction.label, prediction.confidence)
```

- Classes: {labels}.
- Transcripts were written by: {transcriber}. Languages that the text branch reads: {languages}.
- Temperatures (divide the logits, one a modality case): {temperature}.
- Licence of the weights: {license}

## Intended use and limits

The model guesses which emotion a listener would hear; it does not know what a person feels. It is wrong often, more often for
speakers, languages and situations unlike those that it was trained on. Measure it on your own data before you rely on it.

Not for decisions about people. In the European Union, inferring emotions in the workplace or in education is prohibited (AI Act,
Regulation (EU) 2024/1689, Article 5(1)(f)), and people who are exposed to emotion recognition have to be told (Article 50(3)).
"""


def write_model_card(config: MultimodalEmotionConfig, folder: Path, num_parameters: int) -> None:
    """Write README.md into `folder`, unless somebody has written one there already."""
    path = folder / "README.md"
    if path.exists() and "Written by `multimodal_ser`" not in path.read_text(encoding="utf-8"):
        return
    inherited = config.weights_license
    audio_config: Any = config.audio_config
    text_config: Any = config.text_config
    card_data = ModelCardData(
        license=inherited or None,
        language=config.text_languages,
        library_name="multimodal_ser",
        pipeline_tag="audio-classification",
        tags=["speech-emotion-recognition", "multimodal"],
    )
    body = BODY.format(
        card_data=card_data.to_yaml(),
        audio=audio_config.model_type,
        text=text_config.model_type,
        layers=config.fusion_layers,
        parameters=num_parameters / 1e6,
        labels=", ".join(config.id2label[i] for i in range(config.num_labels)),
        transcriber=f"Whisper {config.transcriber}" if config.transcriber else "unknown",
        languages=", ".join(config.text_languages) if config.text_languages else "unknown",
        temperature=config.temperature,
        license=f"{inherited}, inherited from the weights that training started from."
        if inherited
        else "unknown; it is the author's to say.",
    )
    ModelCard(body).save(path)
