"""Functions that load from and push to the Hugging Face Hub, with errors in one line that name a remedy."""

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
    """The refusal of the Hub behind an error, and its remedy; None: `error` does not come from the Hub.

    Example:
        >>> from huggingface_hub.errors import LocalEntryNotFoundError
        >>> from multimodal_ser.hub.access import explain
        >>> explain(LocalEntryNotFoundError("not there"))[0]
        'no copy in the cache, and no way to the Hub'
        >>> explain(ValueError("something else"))
    """
    cause: BaseException | None = error
    while cause is not None:
        status = (
            cause.response.status_code if isinstance(cause, HfHubHTTPError) and cause.response is not None else None
        )
        if isinstance(cause, GatedRepoError):
            return (
                "a gated repository that has not been opened to this account",
                f"ask for access on its page, then {LOG_IN}",
            )
        if isinstance(cause, RevisionNotFoundError):
            return "a repository without this revision", "look for its branches, tags and commits on its page"
        if isinstance(cause, RepositoryNotFoundError):
            return "no repository of this name that can be seen", f"check the name; if it is private, {LOG_IN}"
        if isinstance(cause, LocalTokenNotFoundError) or status == 401:
            return "no token, or one that the Hub does not know", LOG_IN
        if status == 403:
            return "a token without the right to do this", f"{LOG_IN} (a token that may only read cannot push)"
        if status == 400:
            return (
                f"a refusal of the Hub ({_hub_message(cause)})",
                "mend what it names; metadata is the block at the top of README.md",
            )
        if status == 429:
            return (
                "too many requests in a short time",
                f"wait a few minutes; the Hub allows more to those who are known: {LOG_IN}",
            )
        if status in (409, 412):
            return "a repository that somebody else changed meanwhile", "do it again"
        if isinstance(cause, HFValidationError):
            return "neither an existing folder nor a name such as user/model", "check it"
        # then the cause says more than the missing entry
        refused = isinstance(cause, LocalEntryNotFoundError) and isinstance(cause.__cause__, HfHubHTTPError)
        if isinstance(cause, LocalEntryNotFoundError | OfflineModeIsEnabled) and not refused:
            remedy = "load it once with a connection (HF_HUB_OFFLINE unset, no local_files_only); after that the cache serves it"
            return "no copy in the cache, and no way to the Hub", remedy
        if _is_of_transport(cause):
            return (
                f"a connection that broke off ({type(cause).__name__})",
                "do it again: what arrived whole is not sent again",
            )
        if status is not None:
            return f"an answer of the Hub with status {status}", "see its status page and try again later"
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return None


def _hub_message(error: Any) -> str:
    """The Hub's own message about a bad request, in one line."""
    try:
        answer = error.response.json()
        messages = [str(each["message"]) for each in answer.get("errors", ())] or [str(answer["error"])]
    except (ValueError, KeyError, TypeError, AttributeError):
        messages = [error.server_message or "without a reason"]
    line = " ".join(" ".join(messages).split())
    return line if len(line) <= 300 else f"{line[:300]} ..."


def clean_token(token: bool | str | None) -> bool | str | None:
    """A token without the line end of a file or a variable; the HTTP client would quote the whole token in its error.

    Raises:
        OSError: the text cannot be a token; the error does not quote it.

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
    """Call `function` and return its result; a refusal of the Hub becomes an OSError with a remedy."""
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
    """`options` with the commit of their revision, so that all files are loaded from the same commit."""
    if "token" in options:
        options["token"] = clean_token(options["token"])
    if Path(source).exists():
        folder = Path(source, options.get("subfolder") or "")
        check_files(source, lambda name: folder / name if (folder / name).is_file() else None, variant)
        return options
    if not options.get("local_files_only") and not _is_reachable(source, options):
        options = options | {"local_files_only": True}  # else every file would wait for the Hub again
    file_options = {key: value for key, value in options.items() if key != "trust_remote_code"}
    config_path = None
    for name, required in (("config.json", False), ("adapter_config.json", False), ("config.json", True)):
        config_path = config_path or telling(
            source, cached_file, source, name, **file_options, _raise_exceptions_for_missing_entries=required
        )
    parts = Path(config_path or "").parts
    if "snapshots" in parts:
        options = options | {"revision": parts[parts.index("snapshots") + 1]}
        file_options |= {
            "revision": options["revision"],
            "force_download": False,
            "_raise_exceptions_for_missing_entries": False,
        }

    def find(name: str) -> Path | None:
        path = telling(source, cached_file, source, name, **file_options, _raise_exceptions_for_connection_errors=False)
        return None if path is None else Path(path)

    check_files(source, find, variant)
    return options


def _is_reachable(source: str, options: dict[str, Any]) -> bool:
    """Whether the Hub answers; a refusal is an answer, a server error is none."""
    try:
        HfApi(token=options.get("token")).model_info(source, revision=options.get("revision"), timeout=10)
    except HfHubHTTPError as error:
        return error.response is None or error.response.status_code < 500
    except Exception as error:
        return not _is_of_transport(error)
    return True


def _is_of_transport(error: BaseException) -> bool:
    """Whether an error comes from the HTTP client of huggingface_hub or from its offline mode."""
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
        tags: further tags of the card; the tags of the repository's card stay.
        beside: files to push with the model: LICENSE, NOTICE, a card that a person wrote (without one: the repository's
            own card, if a person wrote it, or a new one).
        facts: further facts for the card.

    Raises:
        OSError: a refusal of the Hub, a pull request to another branch than main, or `private` for a repository that is
        public.
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
            all_facts = _stored_evaluations(api, name, revision, model)
            all_facts = all_facts if facts is None else facts if all_facts is None else all_facts | facts
            save_model_card(model, folder, all_facts, model_id=name)  # again, now with the name of the repository
            _add_tags(folder, [*kept_tags, *(tags or ())])
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            operations: list[Any] = [CommitOperationAdd(path.relative_to(folder).as_posix(), path) for path in files]
            pushed = {operation.path_in_repo for operation in operations}
            existing = api.list_repo_files(name, revision=revision)
            # Loaders prefer model.safetensors to shards: the weights of an earlier push would win over these.
            operations += [
                CommitOperationDelete(path) for path in existing if _is_replaced(path) and path not in pushed
            ]
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
    """Whether a push replaces or deletes a file: model.safetensors, shards, their index, and card_facts.json."""
    weights = name.startswith("model") and name.endswith((".safetensors", ".safetensors.index.json"))
    return name == FACTS_NAME or (weights and "/" not in name)


def _stored_evaluations(api: HfApi, repo_id: str, revision: str | None, model: Any) -> CardFacts | None:
    """The evaluations of the same weights in the repository; None: there are none."""
    import contextlib
    import tempfile

    with tempfile.TemporaryDirectory() as temporary, contextlib.suppress(RemoteEntryNotFoundError, ValueError):
        stored = CardFacts.load(api.hf_hub_download(repo_id, FACTS_NAME, revision=revision, local_dir=temporary))
        if stored is not None and stored.evaluation and stored.weights == model.weights_digest():
            return CardFacts(evaluation=stored.evaluation)
    return None


def _tags(folder: Path) -> list[str]:
    """Tags of the card in a folder; an empty list if the card cannot be read."""
    try:
        tags = ModelCard.load(folder / "README.md", ignore_metadata_errors=True).data.tags
    except Exception:  # the YAML may be anything
        return []
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def _add_tags(folder: Path, tags: Sequence[str]) -> None:
    """Add the tags that the card does not have yet."""
    own = _tags(folder)
    new = [tag for tag in dict.fromkeys(tags) if tag not in own]
    if new:
        card = ModelCard.load(folder / "README.md")
        card.data.tags = own + new
        card.save(folder / "README.md")


def _fetch_card(api: HfApi, repo_id: str, revision: str | None, folder: Path) -> None:
    """Download the card of the repository, so that a card that a person wrote is not overwritten."""
    import contextlib
    import shutil

    with contextlib.suppress(RemoteEntryNotFoundError):
        api.hf_hub_download(repo_id, "README.md", revision=revision, local_dir=folder)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # metadata of the download
