"""To and from the Hugging Face Hub: one commit a push, one commit a load, and refusals of the Hub told in one line with the remedy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo, CommitOperationAdd, CommitOperationDelete, HfApi, ModelCard
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers.utils import cached_file

from multimodal_ser.hub.card_facts import FACTS_NAME, CardFacts
from multimodal_ser.hub.model_card import save_model_card
from multimodal_ser.hub.repository_checks import check_files

LOG_IN = "log in with `hf auth login`, set HF_TOKEN, or give a token of an account that may"


def explain(error: BaseException) -> tuple[str, str] | None:
    """What the Hub refused, and what to do about it; None: `error` does not come from the Hub.

    Example:
        >>> from huggingface_hub.errors import LocalEntryNotFoundError
        >>> from multimodal_ser.hub.access import explain
        >>> explain(LocalEntryNotFoundError("not there"))[0]
        'no copy in the cache, and no way to the Hub'
        >>> explain(ValueError("something else"))
    """
    seen: BaseException | None = error
    while seen is not None:
        status = seen.response.status_code if isinstance(seen, HfHubHTTPError) and seen.response is not None else None
        if isinstance(seen, GatedRepoError):
            return (
                "a gated repository that has not been opened to this account",
                f"ask for access on its page, then {LOG_IN}",
            )
        if isinstance(seen, RevisionNotFoundError):
            return "a repository without this revision", "look for its branches, tags and commits on its page"
        if isinstance(seen, RepositoryNotFoundError):
            return "no repository of this name that can be seen", f"check the name; if it is private, {LOG_IN}"
        if isinstance(seen, LocalTokenNotFoundError) or status == 401:
            return "no token, or one that the Hub does not know", LOG_IN
        if status == 403:
            return "a token without the right to do this", f"{LOG_IN} (a token that may only read cannot push)"
        if status == 400:
            return (
                f"a refusal of the Hub ({_said(seen)})",
                "mend what it names; metadata is the block at the top of README.md",
            )
        if status == 429:
            return (
                "too many requests in a short time",
                f"wait a few minutes; the Hub allows more to those who are known: {LOG_IN}",
            )
        if status in (409, 412):
            return "a repository that somebody else changed meanwhile", "do it again"
        if isinstance(seen, HFValidationError):
            return "neither an existing folder nor a name such as user/model", "check it"
        refused = isinstance(seen, LocalEntryNotFoundError) and isinstance(
            seen.__cause__, HfHubHTTPError
        )  # which is told instead
        if isinstance(seen, LocalEntryNotFoundError | OfflineModeIsEnabled) and not refused:
            remedy = "load it once with a connection (HF_HUB_OFFLINE unset, no local_files_only); after that the cache serves it"
            return "no copy in the cache, and no way to the Hub", remedy
        if _is_of_transport(seen):
            return (
                f"a connection that broke off ({type(seen).__name__})",
                "do it again: what arrived whole is not sent again",
            )
        if status is not None:
            return f"an answer of the Hub with status {status}", "see its status page and try again later"
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return None


def _said(error: Any) -> str:
    """What the Hub says of a bad request, in a line."""
    try:
        answer = error.response.json()
        told = [str(each["message"]) for each in answer.get("errors", ())] or [str(answer["error"])]
    except (ValueError, KeyError, TypeError, AttributeError):
        told = [error.server_message or "without a reason"]
    line = " ".join(" ".join(told).split())
    return line if len(line) <= 300 else f"{line[:300]} ..."


def clean_token(token: bool | str | None) -> bool | str | None:
    """A token without the line end that a file or a variable had; the HTTP client would quote a whole header that it cannot send.

    Raises:
        OSError: what cannot be a token, without quoting it.

    Example:
        >>> from multimodal_ser.hub.access import clean_token
        >>> clean_token("hf_abc\\n"), clean_token(None), clean_token(False)
        ('hf_abc', None, False)
    """
    if not isinstance(token, str):
        return token
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise OSError(
            "token: expected an access token such as hf_..., got something else; copy it again from the settings of your account"
        )
    return token


def telling(source: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What `function` returns; what the Hub refuses is raised as this library tells errors, with the remedy."""
    from safetensors import SafetensorError

    try:
        return function(*args, **kwargs)
    except SafetensorError as error:
        got = f"a file that is cut short or something else, perhaps a pickle ({error})"
        raise OSError(
            f"{source}: expected weights as safetensors, got {got}; get it again, and if it stays so, do not use it"
        ) from error
    except Exception as error:  # the HTTP client's errors have no base of Python's
        reason = explain(error)
        if reason is None:
            raise
        got, remedy = reason
        raise OSError(f"{source}: expected a repository of the Hub that can be used, got {got}; {remedy}") from error


def pinned(source: str, options: dict[str, Any], variant: str | None = None) -> dict[str, Any]:
    """`options` with the commit that their revision stands for now: what is loaded later belongs to what is loaded first."""
    if "token" in options:
        options["token"] = clean_token(options["token"])
    if Path(source).exists():
        folder = Path(source, options.get("subfolder") or "")
        check_files(source, lambda name: folder / name if (folder / name).is_file() else None, variant)
        return options
    if not options.get("local_files_only") and not _is_reachable(source, options):
        options = options | {"local_files_only": True}  # else each of many files would be asked for, again and again
    wanted = {key: value for key, value in options.items() if key != "trust_remote_code"}
    found = None
    for name, needed in (("config.json", False), ("adapter_config.json", False), ("config.json", True)):
        found = found or telling(
            source, cached_file, source, name, **wanted, _raise_exceptions_for_missing_entries=needed
        )
    parts = Path(found or "").parts
    if "snapshots" in parts:
        options = options | {"revision": parts[parts.index("snapshots") + 1]}
        wanted |= {
            "revision": options["revision"],
            "force_download": False,
            "_raise_exceptions_for_missing_entries": False,
        }

    def find(name: str) -> Path | None:
        path = telling(source, cached_file, source, name, **wanted, _raise_exceptions_for_connection_errors=False)
        return None if path is None else Path(path)

    check_files(source, find, variant)
    return options


def _is_reachable(source: str, options: dict[str, Any]) -> bool:
    """Whether the Hub answers, be it with a refusal; that it is out of order is no answer."""
    try:
        HfApi(token=options.get("token")).model_info(source, revision=options.get("revision"), timeout=10)
    except HfHubHTTPError as error:
        return error.response is None or error.response.status_code < 500
    except Exception as error:
        return not _is_of_transport(error)
    return True


def _is_of_transport(error: BaseException) -> bool:
    """Of the HTTP client, whichever huggingface_hub uses; or of asking for no connection."""
    return isinstance(error, OfflineModeIsEnabled) or "TransportError" in {
        kind.__name__ for kind in type(error).__mro__
    }


def push_model(
    model: Any,
    repo_id: str,
    *,
    commit_message: str | None = None,
    commit_description: str | None = None,
    private: bool | None = None,
    token: bool | str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
    max_shard_size: int | str | None = "50GB",
    tags: Sequence[str] | None = None,
    beside: Sequence[Path] = (),
    facts: CardFacts | None = None,
) -> CommitInfo:
    """Upload what `save_pretrained` writes, in one commit; see `MultimodalEmotionClassifier.push_to_hub`.

    Args:
        model: a `MultimodalEmotionClassifier`.
        repo_id, commit_message, commit_description, private, token, revision, create_pr, max_shard_size: as there.
        tags: further ones, of the card; those that the repository's card has stay.
        beside: files that go along: LICENSE, NOTICE, a card that a person wrote (without one: the repository's own, if a person wrote
            it, or a new one).
        facts: what the card says beside what is known of the model.

    Raises:
        OSError: what the Hub refuses; a pull request to another branch than main; weights that were to be private and would be public.
    """
    import tempfile

    if create_pr and revision not in (None, "main"):
        raise OSError(
            f"{repo_id}: expected a pull request to main, as the Hub has no others, got revision {revision!r}; leave one of both out"
        )
    api = HfApi(token=clean_token(token))

    def upload() -> CommitInfo:
        name = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if private and not api.model_info(name).private:
            remedy = "make it private in its settings, or leave private out"
            raise OSError(f"{name}: expected a private repository, got one that is public already; {remedy}")
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(name, branch=revision, exist_ok=True)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            _fetch_card(api, name, revision, folder)
            kept_tags = _tags(folder)
            for path in beside:
                (folder / path.name).write_bytes(path.read_bytes())
            model.save_pretrained(folder, max_shard_size=max_shard_size or "50GB")
            known = _measured_there(api, name, revision, model)
            known = known if facts is None else facts if known is None else known | facts
            save_model_card(model, folder, known, model_id=name)  # once more: now its name is known
            _add_tags(folder, [*kept_tags, *(tags or ())])
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            operations: list[Any] = [CommitOperationAdd(path.relative_to(folder).as_posix(), path) for path in files]
            kept = {operation.path_in_repo for operation in operations}
            there = api.list_repo_files(name, revision=revision)
            # Loaders prefer model.safetensors to shards: the weights of an earlier push would win over these.
            operations += [CommitOperationDelete(path) for path in there if _is_replaced(path) and path not in kept]
            return api.create_commit(  # not upload_folder, which may make several commits of a folder
                name,
                operations,
                commit_message=commit_message or "Upload model",
                commit_description=commit_description,
                revision=revision,
                create_pr=create_pr,
            )

    return telling(repo_id, upload)


def _is_replaced(name: str) -> bool:
    """Whether a push writes it anew or takes it away: model.safetensors, shards, their index, and what is known of these weights."""
    weights = name.startswith("model") and name.endswith((".safetensors", ".safetensors.index.json"))
    return name == FACTS_NAME or (weights and "/" not in name)


def _measured_there(api: HfApi, repo_id: str, revision: str | None, model: Any) -> CardFacts | None:
    """What was measured of these very weights and stands in the repository; None: nothing."""
    import contextlib
    import tempfile

    with tempfile.TemporaryDirectory() as temporary, contextlib.suppress(RemoteEntryNotFoundError, ValueError):
        there = CardFacts.load(api.hf_hub_download(repo_id, FACTS_NAME, revision=revision, local_dir=temporary))
        if there is not None and there.evaluation and there.weights == model.weights_digest():
            return CardFacts(evaluation=there.evaluation)
    return None


def _tags(folder: Path) -> list[str]:
    """Of the card there; none of one that cannot be read."""
    try:
        found = ModelCard.load(folder / "README.md", ignore_metadata_errors=True).data.tags
    except Exception:  # whatever YAML somebody wrote there
        return []
    return [tag for tag in found if isinstance(tag, str)] if isinstance(found, list) else []


def _add_tags(folder: Path, tags: Sequence[str]) -> None:
    """Add those that the card lacks."""
    own = _tags(folder)
    new = [tag for tag in dict.fromkeys(tags) if tag not in own]
    if new:
        card = ModelCard.load(folder / "README.md")
        card.data.tags = own + new
        card.save(folder / "README.md")


def _fetch_card(api: HfApi, repo_id: str, revision: str | None, folder: Path) -> None:
    """The card that the repository has: what a person wrote there is not overwritten."""
    import contextlib
    import shutil

    with contextlib.suppress(RemoteEntryNotFoundError):
        api.hf_hub_download(repo_id, "README.md", revision=revision, local_dir=folder)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the download's own notes
