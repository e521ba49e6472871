"""Checks of peft adapters, which are stored without their base, before the base is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from safetensors import SafetensorError, safe_open

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def adapter_base(folder: Path) -> str | None:
    """The base that an adapter's folder names, "" where it names none; None: the folder holds no adapter, or a whole checkpoint.

    Raises:
        ValueError: the files are no adapter.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.hub.adapters import adapter_base
        >>> adapter_base(Path("no/such/folder"))
    """
    if (folder / "config.json").exists() or not (folder / CONFIG).exists():
        return None
    base = _named_base(folder / CONFIG)
    try:
        with safe_open(folder / WEIGHTS, "pt") as weights:
            names = list(weights.keys())
    except (OSError, SafetensorError) as error:
        raise ValueError(f"expected {WEIGHTS}, got {str(error).splitlines()[0]}") from error
    if not names:
        raise ValueError(f"expected weights in {WEIGHTS}, got none")
    return base


def is_at_hand(base: str, cache_dir: str | None = None) -> bool:
    """Whether a base can be loaded with no connection: a folder, or a repository in the cache."""
    if Path(base).is_dir():
        return True
    return bool(base) and not _is_path(base) and isinstance(try_to_load_from_cache(base, "config.json", cache_dir), str)


def check_adapter(source: str, options: dict[str, Any], labels: Any) -> None:
    """Refuse an adapter that cannot be loaded by its name alone, before the Hub is asked for its base.

    Args:
        source: folder or Hub id.
        options: `revision`, `cache_dir`, `subfolder` of the loading; the configuration of a repository is in the cache
            already.
        labels: labels of a new head, or None.

    Raises:
        ValueError: the adapter names no base that can be found, or `labels` asks for a new head.
    """
    subfolder = options.get("subfolder") or ""

    def find(name: str) -> Path | None:
        if Path(source).exists():
            path = Path(source, subfolder, name)
            return path if path.is_file() else None
        cached = try_to_load_from_cache(
            source, f"{subfolder}/{name}".lstrip("/"), options.get("cache_dir"), options.get("revision")
        )
        return Path(cached) if isinstance(cached, str) else None

    config_path = None if find("config.json") else find(CONFIG)
    if config_path is None:
        return
    base = _named_base(config_path)
    has_own_base = base and Path(base).parts[-2:] != ("multimodal_ser", "pretrained")
    load = f"MultimodalEmotionClassifier.from_pretrained({repr(base) if has_own_base else ''})"
    if labels is not None:
        how = f"load its base with labels=[...] ({load}), then PeftModel.from_pretrained(base, {source!r})"
        raise ValueError(
            f"labels: expected a whole checkpoint, got {source}, an adapter, which has a head of its own or needs one; {how}"
        )
    if not base or (_is_path(base) and not Path(base).is_dir()):
        got = f"{base!r}, which is not on this machine" if base else "none"
        remedy = f"load the base that it was trained on and put it there: PeftModel.from_pretrained({load}, {source!r})"
        raise ValueError(
            f"{source}: expected an adapter whose base (base_model_name_or_path) can be found, got {got}; {remedy}"
        )


def _named_base(path: Path) -> str:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"expected JSON in {CONFIG}, got an error ({error})") from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise ValueError(f"expected what peft writes in {CONFIG}, got no peft_type")
    return config.get("base_model_name_or_path") or ""


def _is_path(base: str) -> bool:
    """Whether the name of a base has the form of a folder; a Hub id is `name` or `user/name`."""
    return Path(base).is_absolute() or base.startswith((".", "~")) or "\\" in base or base.count("/") > 1
