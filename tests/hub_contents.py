"""What the stand-in for the Hub keeps, and what it refuses to keep: files, commits, repositories, and the rules for a card's metadata."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass, field

LARGE = (".safetensors", ".bin", ".pt", ".model", ".parquet", ".arrow", ".wav", ".flac", ".onnx", ".zip", ".msgpack")
DATE = "2026-11-01T00:00:00.000Z"
ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in LARGE).encode()


@dataclass(frozen=True)
class Blob:
    """One file of a commit."""

    content: bytes
    large: bool

    @property
    def oid(self) -> str:
        """As git names it; of a large file, its pointer's."""
        content = self.pointer if self.large else self.content
        return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()

    @property
    def sha256(self) -> str:
        """As LFS names it."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def pointer(self) -> bytes:
        """What git holds of a large file."""
        return (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.content)}\n".encode()
        )

    @property
    def tag(self) -> str:
        """Its ETag."""
        return self.sha256 if self.large else self.oid


@dataclass(frozen=True)
class Commit:
    """A state of a repository."""

    oid: str
    files: dict[str, Blob]
    title: str
    message: str = ""
    parent: Commit | None = None
    author: str = "somebody"


@dataclass
class Repository:
    """A repository; `refs` are full names such as refs/heads/main, refs/tags/v1, refs/pr/1."""

    id: str
    kind: str
    private: bool = False
    gated: bool = False
    granted: set[str] = field(default_factory=set)
    refs: dict[str, Commit] = field(default_factory=dict)
    discussions: list[dict] = field(default_factory=list)
    listed_too: list[str] = field(default_factory=list)  # names that listings have besides, whatever they are

    def commit(
        self, ref: str, files: dict[str, Blob], title: str, message: str = "", author: str = "somebody"
    ) -> Commit:
        """Put a new state on a ref."""
        parent = self.refs.get(ref)
        state = json.dumps(
            [self.id, ref, title, time.time_ns(), sorted((name, blob.oid) for name, blob in files.items())]
        )
        self.refs[ref] = Commit(hashlib.sha1(state.encode()).hexdigest(), files, title, message, parent, author)
        return self.refs[ref]

    def find(self, revision: str) -> tuple[str | None, Commit | None]:
        """The ref and the commit of a branch, a tag, a full ref or a commit's name."""
        for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if ref in self.refs:
                return ref, self.refs[ref]
        for commit in self.refs.values():
            for seen in history(commit):
                if len(revision) >= 7 and seen.oid.startswith(revision):
                    return None, seen
        return None, None


def history(commit: Commit | None) -> list[Commit]:
    """A commit and those before it, the newest first."""
    commits = []
    while commit is not None:
        commits.append(commit)
        commit = commit.parent
    return commits


class Refusal(Exception):
    """An answer with a status of its own."""

    def __init__(self, status: int, code: str | None = None, message: str = "", **body):
        super().__init__(message)
        self.status, self.body = status, {"error": message} | body
        self.headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})


def is_large(name: str, sample: bytes, size: int) -> bool:
    """Whether the Hub keeps a file outside git."""
    return name.endswith(LARGE) or size > 10 << 20 or b"\0" in sample


def safe(name: str) -> str:
    """A path that a commit may hold."""
    if name.startswith("/") or any(step in ("", ".", "..", ".git") for step in name.rstrip("/").split("/")):
        raise Refusal(400, message=f"invalid path {name}")
    return name


LICENSES = {
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m", "bigscience-bloom-rail-1.0",
    "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "c-uda",
    "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0",
    "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0", "epl-1.0", "epl-2.0", "etalab-2.0",
    "eupl-1.1", "eupl-1.2", "agpl-3.0", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "isc", "h-research",
    "intel-research", "lppl-1.3c", "ms-pl", "apple-ascl", "apple-amlr", "mpl-2.0", "odc-by", "odbl", "openmdw-1.0", "openrail++",
    "osl-3.0", "postgresql", "ofl-1.1", "ncsa", "unlicense", "zlib", "pddl", "lgpl-lr", "deepfloyd-if-license",
    "fair-noncommercial-research-license", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4", "grok2-community", "gemma",
    "unknown", "other",
}  # fmt: skip
"""As the Hub listed them in May 2026 (https://github.com/huggingface/huggingface_hub/issues/4218)."""

TEXTS = {
    "license_name": r"[a-z0-9.-]+",
    "license_link": r"LICENSE(\.md)?|https?://\S+",
    "pipeline_tag": r"[a-z0-9-]+",
    "library_name": r"\S+",
}
LISTS = {"license": r"\S+", "language": r"[a-z]{2,3}(-[A-Za-z]+)?|code|multilingual", "tags": r".+", "datasets": r"\S+", "metrics": r"\S+",
         "base_model": r"[\w.-]+(/[\w.-]+)?"}  # fmt: skip
"""What the fields of a card look like, after https://github.com/huggingface/hub-docs/blob/main/modelcard.md."""


def metadata_errors(card: str) -> list[str] | None:
    """What the Hub refuses in the block at the top of a card; None: it has no such block."""
    import yaml

    found = re.match(r"---\r?\n(.*?)\r?\n---(\r?\n|$)", card, re.DOTALL)
    if found is None:
        return None
    try:
        metadata = yaml.safe_load(found[1])
    except yaml.YAMLError as error:
        return [str(error)]
    if not isinstance(metadata, dict):
        return ["metadata must be a mapping"]
    errors = []
    for name, pattern in (TEXTS | LISTS).items():
        value = metadata.get(name)
        for each in value if isinstance(value, list) and name in LISTS else [value]:
            if name in metadata and not isinstance(each, str):
                errors.append(f'"{name}" must be a string' + (" or an array of strings" if name in LISTS else ""))
            elif name in metadata and not re.fullmatch(pattern, each):
                errors.append(f'"{name}" with value "{each}" fails to match the required pattern: /{pattern}/')
            elif name == "license" and name in metadata and each not in LICENSES:
                errors.append('"license" must be one of [...]')
    models = metadata.get("model-index", [])
    if not isinstance(models, list):
        return [*errors, '"model-index" must be an array']
    for i, model in enumerate(models):
        errors += [f'"model-index[{i}].{name}" is required' for name in ("name", "results") if not model.get(name)]
        for j, result in enumerate(model.get("results") or ()):
            at = f"model-index[{i}].results[{j}]"
            wanted = [("task", "type"), ("dataset", "name"), ("dataset", "type")]
            errors += [
                f'"{at}.{part}.{name}" is required' for part, name in wanted if not (result.get(part) or {}).get(name)
            ]
            for metric in result.get("metrics") or [{}]:
                errors += [
                    f'"{at}.metrics.{name}" is required' for name in ("type", "value") if metric.get(name) is None
                ]
    return errors
