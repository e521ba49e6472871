"""The functions `push` and `pull`, which send a checkpoint to the Hugging Face Hub and fetch one from there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from multimodal_ser._files import put
from multimodal_ser.errors import InputError

if TYPE_CHECKING:
    from huggingface_hub import CommitInfo

KINDS = (".safetensors", ".json", ".txt", ".md", ".model")
"""Endings of the files of a checkpoint: weights, settings, vocabularies, cards. None of these files can hold code."""

NAMES = ("LICENSE", "NOTICE")
"""Files without an ending that are pulled too."""


class HubError(InputError, OSError):
    """A refusal of the Hub, or of a repository by this library; an `InputError` that is also an OSError.

    Example:
        >>> from multimodal_ser.hub import HubError
        >>> print(HubError("me/model", expected="safetensors", got="a pickle", remedy="do not use it"))
        me/model: expected safetensors, got a pickle; do not use it
    """


@dataclass(frozen=True)
class Pulled:
    """The result of `pull`.

    Args:
        folder: folder of the checkpoint.
        commit: commit of the repository.
        left_out: files of the repository that were not fetched, because no checkpoint needs files of their kind.

    Example:
        >>> from pathlib import Path
        >>> from multimodal_ser.hub import Pulled
        >>> Pulled(Path("model"), "0" * 40, ["pytorch_model.bin"]).left_out
        ['pytorch_model.bin']
    """

    folder: Path
    commit: str
    left_out: list[str] = field(default_factory=list)


def push(model: str | Path, repo_id: str, *, report: str | Path | None = None, **options: Any) -> CommitInfo:
    """Push a local checkpoint, with the card, LICENSE and NOTICE in its folder.

    Args:
        model: folder of the checkpoint; if it does not load, nothing is pushed.
        repo_id: such as "me/my-emotions".
        report: report.json of `multimodal-ser evaluate`, whose figures the card then shows.
        **options: `private`, `revision`, `create_pr`, `commit_message`, `commit_description`, `token`: as
            `MultimodalEmotionClassifier.push_to_hub` takes them; `tags`: further tags of the card.

    Returns:
        huggingface_hub's `CommitInfo`: `oid`, `commit_url`, `pr_url`.

    Raises:
        HubError: a refusal of the Hub, or a folder without a checkpoint of this library.
        InputError: `report` cannot be read as a report.
    """
    from multimodal_ser.hub.access import push_model
    from multimodal_ser.hub.card_facts import CARD_MARK
    from multimodal_ser.hub.card_reports import facts_from_report

    folder = Path(model)
    if not folder.is_dir():
        raise HubError(str(model), expected="a folder with a checkpoint", got="no such folder", remedy="check the path")
    try:
        facts = None if report is None else facts_from_report(report)
    except ValueError as error:
        raise InputError(
            "--report", expected="a report that can be read", got=f"an error ({error})", remedy="check it"
        ) from error
    card = folder / "README.md"
    beside = [folder / name for name in NAMES if (folder / name).is_file()]
    if card.is_file() and CARD_MARK not in card.read_text(encoding="utf-8", errors="replace"):
        beside.append(card)
    return _with_hub_errors(
        repo_id, push_model, _loaded(folder, str(model)), repo_id, beside=beside, facts=facts, **options
    )


def pull(
    repo_id: str,
    output_dir: str | Path,
    *,
    revision: str | None = None,
    subfolder: str = "",
    token: bool | str | None = None,
    also: Sequence[str] = (),
) -> Pulled:
    """Fetch a checkpoint into a folder: the files that it needs and no others, all of one commit, and only if it loads.

    An interrupted pull leaves no folder. Files that were fetched before an interruption are in the cache and are not
    fetched again.

    Args:
        repo_id: such as "me/my-emotions".
        output_dir: a folder that does not exist yet, or is empty.
        revision: branch, tag or commit; None: the main branch.
        subfolder: folder of the repository with the checkpoint; its content goes to `output_dir`.
        token: an access token; None: the token of `hf auth login` or HF_TOKEN.
        also: patterns of further files to fetch, such as "*.py"; no code in them is run.

    Raises:
        HubError: a refusal of the Hub; a repository without safetensors, with names that lead out of the folder, or
        with weights
            that do not fit its configuration; a folder that is not empty.

    Example:
        >>> from multimodal_ser.hub import HubError, pull
        >>> try:
        ...     pull("me/my-emotions", ".")
        ... except HubError as error:
        ...     print(error)
        --output-dir: expected a new or an empty folder, got ., which holds files; name another
    """
    from multimodal_ser.hub.access import clean_token

    folder = Path(output_dir)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        got = f"{output_dir}, which {'holds files' if folder.is_dir() else 'is a file'}"
        raise HubError("--output-dir", expected="a new or an empty folder", got=got, remedy="name another")
    token = _with_hub_errors(repo_id, clean_token, token)
    commit, names = _with_hub_errors(repo_id, _listed, repo_id, revision, token)
    check_names(repo_id, names)
    inside = subfolder.strip("/") + "/" if subfolder.strip("/") else ""
    names = [name for name in names if name.startswith(inside)]
    if not names:
        raise HubError(
            repo_id, expected=f"a folder {subfolder!r}", got="none", remedy="look for its folders on its page"
        )
    requested = [name for name in names if is_wanted(name, also)]
    left_out = sorted(set(names) - set(requested) - {".gitattributes"})
    if not any(name.endswith(".safetensors") for name in requested):
        pickled = [
            name for name in left_out if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack"))
        ]
        got = f"{', '.join(pickled[:3])}, which may run code when it is read" if pickled else "none"
        raise HubError(
            repo_id,
            expected="weights as safetensors",
            got=got,
            remedy="ask its author to convert them (save_pretrained does)",
        )
    target = folder.resolve()
    staged = target.with_name(f".{target.name}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(staged, ignore_errors=True)
        for name in requested:
            _fetch(repo_id, name, commit, token, staged / name.removeprefix(inside))
        _check(staged, repo_id)
        _put(staged, target)
    except OSError as error:
        if isinstance(error, HubError):
            raise
        raise HubError(
            "--output-dir",
            expected="a folder that can be written",
            got=f"{output_dir} ({error})",
            remedy="name another",
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return Pulled(folder, commit, left_out)


def _put(staged: Path, target: Path) -> None:
    """Rename the complete folder; an empty target that cannot be removed (such as a mount) is filled instead."""
    try:
        if target.exists():
            target.rmdir()
        put(staged, target)
    except OSError:
        if not target.exists():
            raise
        for path in sorted(staged.iterdir()):
            shutil.move(path, target / path.name)


def is_wanted(name: str, also: Sequence[str] = ()) -> bool:
    """Whether `pull` fetches a file: its kind is one of `KINDS` or `NAMES`, or a pattern of `also` fits.

    Example:
        >>> from multimodal_ser.hub import is_wanted
        >>> [name for name in ("config.json", "model.safetensors", "pytorch_model.bin", "modeling.py") if is_wanted(name)]
        ['config.json', 'model.safetensors']
        >>> is_wanted("modeling.py", also=["*.py"])
        True
    """
    path = PurePosixPath(name)
    return path.suffix in KINDS or path.name in NAMES or any(fnmatch(name, pattern) for pattern in also)


def check_names(repo_id: str, names: Sequence[str]) -> None:
    """Refuse a repository that lists a file which would not lie inside the folder that it is pulled to, on any system.

    Raises:
        HubError: a file has such a name; the error names it.

    Example:
        >>> from multimodal_ser.hub import check_names
        >>> check_names("me/model", ["config.json", "a..b/weights.safetensors"])
        >>> check_names("me/x", ["../evil"])
        Traceback (most recent call last):
        ...
        multimodal_ser.hub.transfer.HubError: me/x: expected names of files inside the repository, got '../evil'; do not use this repository
    """
    for name in names:
        path, windows = PurePosixPath(name), PureWindowsPath(name)
        outside = path.is_absolute() or windows.drive or windows.root or ".." in path.parts or ".." in windows.parts
        if outside or not path.parts or "\\" in name or any(ord(letter) < 32 for letter in name):
            expected, remedy = "names of files inside the repository", "do not use this repository"
            raise HubError(repo_id, expected=expected, got=repr(name), remedy=remedy)


def _listed(repo_id: str, revision: str | None, token: bool | str | None) -> tuple[str, list[str]]:
    """The commit that a revision is now, and the files of that commit."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    api = HfApi(token=token)
    commit = str(api.model_info(repo_id, revision=revision).sha)
    entries = api.list_repo_tree(repo_id, recursive=True, revision=commit)
    return commit, sorted(entry.path for entry in entries if isinstance(entry, RepoFile))


def _fetch(repo_id: str, name: str, commit: str, token: bool | str | None, target: Path) -> None:
    """Fetch one file through the cache, so that an interrupted pull does not fetch it again."""
    from huggingface_hub import hf_hub_download

    cached = _with_hub_errors(repo_id, hf_hub_download, repo_id, name, revision=commit, token=token)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(cached, target)


def _check(folder: Path, name: str) -> None:
    """Load the fetched checkpoint; of an adapter without its base on this machine, check its own files alone."""
    from multimodal_ser.hub.adapters import adapter_base, is_at_hand

    try:
        base = adapter_base(folder)
    except ValueError as error:
        raise HubError(
            name, expected="an adapter that can be used", got=str(error), remedy="nothing was pulled"
        ) from error
    if base is None or is_at_hand(base):
        _loaded(folder, name)


def _loaded(folder: Path, name: str) -> Any:
    """Load the classifier of a folder; no code of the folder is run, and nothing else is downloaded."""
    import multimodal_ser
    from multimodal_ser.hub.repository_checks import check_weights

    try:
        classifier = multimodal_ser.MultimodalEmotionClassifier.from_pretrained(
            folder, whisper=None, local_files_only=True
        )
        _ = classifier.processor
        check_weights(name, classifier)
    except Exception as error:  # transformers, safetensors, huggingface_hub: each has its own
        message = " ".join(str(error).split()) or type(error).__name__
        got = message.replace(f"{folder}: ", "").replace(f"{name}: ", "").replace(str(folder), name)
        got = got if len(got) <= 500 else f"{got[:500]} ..."
        raise HubError(
            name, expected="a checkpoint that loads", got=got, remedy="nothing was pushed or pulled"
        ) from error
    return classifier


def _with_hub_errors(repo_id: str, function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call `function` and return its result; a refusal of the Hub becomes a `HubError`."""
    from multimodal_ser.hub.access import explain

    try:
        return function(*args, **kwargs)
    except Exception as error:  # the HTTP client's errors have no base of Python's
        reason = explain(error)
        if reason is None:
            raise
        raise HubError(
            repo_id, expected="a repository of the Hub that can be used", got=reason[0], remedy=reason[1]
        ) from error
