"""The commands `predict` and `transcribe`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from multimodal_ser._progress import say
from multimodal_ser.cli.options import (
    LABEL_SETS,
    Commands,
    add_command,
    add_listening,
    add_model,
    check_device,
    load_model,
    loading_errors,
)
from multimodal_ser.cli.output import FORMATS, write
from multimodal_ser.errors import InputError


def predict(args: argparse.Namespace) -> int:
    """Predict emotion probabilities of recordings, texts, or both."""
    if args.text is not None and len(args.audio) > 1:
        raise InputError(
            "--text",
            expected="at most one recording with it",
            got=f"{len(args.audio)} recordings",
            remedy="run the command once for each recording",
        )
    if not args.audio and args.text is None:
        raise InputError(
            "input", expected="recordings, or --text", got="neither", remedy="multimodal-ser predict call.wav"
        )
    from multimodal_ser.export.onnx_runtime import is_export
    from multimodal_ser.labels import label_map

    model = _exported(args) if args.model is not None and is_export(args.model) else _checkpoint(args)
    items = [{"audio": path, "text": args.text} for path in args.audio] or [{"text": args.text}]
    outcomes = model.predict_iter(
        items, modalities=args.modalities, label_set=args.label_set, language=args.language, channels=args.channels,
        batch_size=args.batch_size, word_timestamps=args.word_timestamps, on_error="skip", progress=args.progress, total=len(items),
        abstain_below=args.abstain_below,
    )  # fmt: skip
    labels = dict.fromkeys(label_map(model.labels, args.label_set).values())
    columns = [
        "source", *(["channel"] if args.channels == "split" else []), "label", "confidence",
        *([] if args.format == "csv" else ["probabilities"]), *(f"p_{label}" for label in labels),
        *(["abstained"] if args.abstain_below is not None else []), *(["conformal_labels"] if model.config.conformal else []),
        "modalities", "language", "text", "notes", "error",
    ]  # fmt: skip
    failed = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal failed
        for item, outcome in zip(items, outcomes, strict=True):
            if isinstance(outcome, InputError):
                failed += 1
                say(str(outcome))
                yield {"source": item.get("audio"), "error": str(outcome)}
            else:
                yield from (
                    prediction.to_dict() for prediction in (outcome if isinstance(outcome, list) else [outcome])
                )

    write(rows(), args.format, args.output, columns)
    if failed:
        say(f"{failed} of {len(items)} inputs failed{'; the others were done' if failed < len(items) else ''}")
    return 1 if failed else 0


def _checkpoint(args: argparse.Namespace) -> Any:
    """Load the classifier in PyTorch."""
    from multimodal_ser.transcription import WhisperTranscriber

    if args.dtype == "int8":
        raise InputError(
            "--dtype",
            expected="int8 of an export to ONNX",
            got="a checkpoint",
            remedy="multimodal-ser export onnx --int8",
        )
    check_device(args.device)
    whisper = (
        None
        if args.whisper == "none"
        else WhisperTranscriber(args.whisper, device=args.device, cache_dir=args.cache_dir)
    )
    model = load_model(args, whisper=whisper, device=args.device, **({"dtype": args.dtype} if args.dtype else {}))
    with loading_errors(args.model):
        model.processor  # noqa: B018 - the first access loads it
    return model


def _exported(args: argparse.Namespace) -> Any:
    """Load the classifier in onnxruntime, without PyTorch."""
    from multimodal_ser.export.onnx_runtime import OnnxEmotionClassifier

    for option, value, allowed in (("--device", args.device, ("cpu",)), ("--dtype", args.dtype, ("float32", "int8"))):
        if value is not None and value not in allowed:
            remedy = "leave it out, or name the checkpoint of the export"
            raise InputError(option, expected=f"{' or '.join(allowed)} of an export to ONNX", got=value, remedy=remedy)
    whisper = None if args.whisper == "none" else args.whisper or "auto"
    model = OnnxEmotionClassifier.from_pretrained(
        args.model, whisper=whisper, int8=None if args.dtype is None else args.dtype == "int8"
    )
    transcriber: Any = model.transcriber  # an error of --whisper is raised before a recording is read
    if args.cache_dir is not None and transcriber is not None:
        from multimodal_ser.transcription import TranscriptCache

        transcriber.cache = TranscriptCache(args.cache_dir)
    return model


def transcribe(args: argparse.Namespace) -> int:
    """Transcribe recordings."""
    from multimodal_ser.audio import AudioError
    from multimodal_ser.transcription import TranscriptCache, WhisperTranscriber

    if args.clear_cache:
        if args.cache_dir is None:
            raise InputError(
                "--clear-cache", expected="--cache-dir with it", got="none", remedy="name the folder of the cache"
            )
        say(f"{TranscriptCache(args.cache_dir).clear()} transcripts deleted in {args.cache_dir}")
    elif not args.audio:
        raise InputError("input", expected="recordings", got="none", remedy="multimodal-ser transcribe call.wav")
    if not args.audio:
        return 0
    transcriber = WhisperTranscriber(args.whisper, backend=args.backend, device=args.device, cache_dir=args.cache_dir)
    # an error of an option is raised before a recording is read
    transcriber.load().transcribe([], language=args.language)
    failed = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal failed
        for path in args.audio:
            try:
                transcript: Any = transcriber.transcribe(
                    path, language=args.language, word_timestamps=args.word_timestamps
                )
            except AudioError as error:
                failed += 1
                say(str(error))
                yield {"source": path, "error": str(error)}
            else:
                yield {"source": path, **transcript.to_dict()}

    write(rows(), args.format, args.output, ["source", "language", "text", "error"])
    if failed:
        say(
            f"{failed} of {len(args.audio)} recordings failed{'; the others were done' if failed < len(args.audio) else ''}"
        )
    return 1 if failed else 0


def add(commands: Commands) -> None:
    """Add these commands to the command line."""
    sub = add_command(commands, predict, FORMATS)
    sub.add_argument("audio", nargs="*", metavar="FILE", help="recordings: wav, flac, mp3, ogg, m4a, webm ...")
    sub.add_argument("--text", help="text of the recording, in place of a transcript by Whisper")
    add_model(sub)
    sub.add_argument(
        "--modalities",
        choices=("auto", "both", "audio", "text"),
        default="auto",
        help="modalities of the prediction (default: auto)",
    )
    sub.add_argument("--label-set", default="native", help=LABEL_SETS)
    sub.add_argument(
        "--channels",
        choices=("mix", "split"),
        default="mix",
        help="mix the channels, or predict each of them (default: mix)",
    )
    sub.add_argument(
        "--batch-size",
        type=int,
        default=8,
        metavar="N",
        help="windows that run through the model together (default: 8)",
    )
    sub.add_argument(
        "--dtype",
        choices=("float32", "bfloat16", "float16", "int8"),
        help="precision; int8: exports to ONNX alone (default: float32)",
    )
    sub.add_argument(
        "--abstain-below",
        type=float,
        metavar="P",
        help="mark a prediction as uncertain if its confidence is lower (see `calibrate --error`)",
    )
    sub.add_argument("--progress", action="store_true", help="show a progress bar")
    add_listening(sub)

    sub = add_command(commands, transcribe, FORMATS)
    sub.add_argument("audio", nargs="*", metavar="FILE", help="recordings")
    sub.add_argument("--clear-cache", action="store_true", help="delete the transcripts in --cache-dir first")
    sub.add_argument(
        "--backend",
        choices=("faster-whisper", "openai-whisper", "transformers"),
        help="library that runs Whisper (default: one that fits the weights)",
    )
    add_listening(sub)
