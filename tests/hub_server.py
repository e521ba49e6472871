"""A stand-in for the Hugging Face Hub on loopback: what huggingface_hub calls for models and datasets, and what it refuses.

Two servers: the Hub itself, and a storage on another port that large files are redirected to, as the real one has; a token must not
reach the second. Content lives in memory. Written after huggingface_hub 2.4.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from hub_contents import ATTRIBUTES, DATE, Blob, Commit, Refusal, Repository, history, is_large, metadata_errors, safe
from hub_http import Handler, Storage

KINDS = ("models", "datasets", "spaces")


class HubServer:
    """The Hub and its storage, on two free ports of loopback, while the context is open.

    Args:
        tokens: names of accounts by token; an account may write to repositories of its own name and to those of `organizations`.
        readers: tokens that may only read.
        organizations: names that every account belongs to.
        multipart_above: files of more bytes are uploaded in parts of this size.

    `requests` is what was asked, in order: (server, method, path, whether a token came along). `cut_uploads` is how many of the next
    uploads break off in their middle; while the file `cut_while` exists all do, but for the next `cut_after`. `stored` is what the
    storage holds by SHA-256, `uploads` what it was sent. While the file
    `trouble_while` exists, the Hub answers everything with the status that it holds, such as 503.
    """

    def __init__(self, tokens=None, readers=(), organizations=("lab",), multipart_above: int | None = None):
        self.tokens = {"hf_token_of_me": "me", "hf_token_of_you": "you"} if tokens is None else tokens
        self.readers, self.organizations, self.multipart_above = set(readers), set(organizations), multipart_above
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.stored: dict[str, bytes] = {}
        self.parts: dict[tuple[str, int], bytes] = {}
        self.uploads: list[str] = []
        self.requests: list[tuple[str, str, str, bool]] = []
        self.cut_uploads = 0
        self.cut_while: Path | None = None
        self.cut_after = 0
        self.page_size = 1000
        self.trouble_while: Path | None = None
        self.lock = threading.RLock()

    def __enter__(self) -> HubServer:
        self._servers = []
        for handler in (_Hub, Storage):
            server = ThreadingHTTPServer(("127.0.0.1", 0), type(handler.__name__, (handler,), {"hub": self}))
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
            self._servers.append(server)
        self.url, self.storage_url = (f"http://127.0.0.1:{server.server_address[1]}" for server in self._servers)
        return self

    def __exit__(self, *_) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def environment(self, home: Path, token: str | None = None, **more: str) -> dict[str, str]:
        """The environment of a client process: this Hub, caches under `home`, no other way out."""
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))
        }
        kept = {key: value for key, value in kept.items() if not key.lower().endswith("_proxy")}
        ours = {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        ours |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        return kept | ours | ({} if token is None else {"HF_TOKEN": token}) | more

    def put(
        self, repo_id: str, files: dict[str, bytes], kind: str = "models", ref: str = "refs/heads/main", **fields
    ) -> Repository:
        """Make a repository, or change one, without HTTP; `fields` as `Repository` has them."""
        with self.lock:
            repository = self.repositories.setdefault((kind, repo_id), Repository(repo_id, kind))
            for name, value in fields.items():
                setattr(repository, name, value)
            blobs = {
                name: Blob(content, is_large(name, content[:512], len(content))) for name, content in files.items()
            }
            self.stored |= {blob.sha256: blob.content for blob in blobs.values() if blob.large}
            before = repository.refs.get(ref) or repository.refs.get("refs/heads/main")
            repository.commit(ref, (before.files if before else {}) | blobs, "put")
            return repository

    def put_folder(self, repo_id: str, folder: Path, under: str = "", **options) -> Repository:
        """Make a repository of a folder's files."""
        files = {
            under + path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        return self.put(repo_id, files, **options)

    def repository(self, repo_id: str, kind: str = "models") -> Repository:
        """One that is there."""
        return self.repositories[kind, repo_id]

    def commits(self, repo_id: str, revision: str = "main", kind: str = "models") -> list[Commit]:
        """Of a revision, the newest first."""
        return history(self.repository(repo_id, kind).find(revision)[1])


class _Hub(Handler):
    """The Hub's API and its addresses of files."""

    server_name = "hub"

    def answer(self, path: list[str]) -> tuple[int, dict, object]:
        """Find what is asked for."""
        if self.hub.trouble_while is not None and self.hub.trouble_while.exists():
            raise Refusal(int(self.hub.trouble_while.read_text()), message="out of order")
        given = self.headers.get("Authorization")
        self.token = given.removeprefix("Bearer ") if given else None
        if self.token is not None and self.token not in self.hub.tokens:
            raise Refusal(401, message="Invalid credentials in Authorization header")
        self.user = self.hub.tokens.get(self.token)
        with self.hub.lock:
            if path[0] == "api":
                return self._api(path[1:])
            kind, path = (path[0], path[1:]) if path[0] in KINDS else ("models", path)
            if len(path) > 4 and path[2] == "resolve":
                return self._resolve(self._repository(kind, path), path[3], "/".join(path[4:]), redirect=True)
            if path[1:2] and path[1].endswith(".git") and path[2:4] == ["info", "lfs"]:
                return self._large(self._repository(kind, [path[0], path[1].removesuffix(".git")]), path[-1])
        raise Refusal(404, message="Sorry, we can't find the page you are looking for.")

    def _api(self, path: list[str]) -> tuple[int, dict, object]:
        if path == ["whoami-v2"]:
            if self.user is None:
                raise Refusal(401, message="Invalid username or password.")
            role = "read" if self.token in self.hub.readers else "write"
            named = {"type": "user", "name": self.user, "fullname": self.user, "email": None, "isPro": False}
            orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in sorted(self.hub.organizations)]
            return (
                200,
                {},
                named
                | {"orgs": orgs, "auth": {"type": "access_token", "accessToken": {"role": role, "displayName": "t"}}},
            )
        if path == ["validate-yaml"]:
            return self._validate(json.loads(self.body))
        if path[0] == "repos":
            return self._create() if path[1] == "create" else self._delete()
        if path[0] == "resolve-cache":
            return self._resolve(self._repository(path[1], path[2:]), path[4], "/".join(path[5:]), redirect=False)
        if path[0] in KINDS and len(path) >= 3:
            repository, what, rest = self._repository(path[0], path[1:]), path[3] if len(path) > 3 else "info", path[4:]
            function = getattr(self, "_" + what.replace("-", "_"), None)
            if what in ENDPOINTS and function is not None:
                return function(repository, *rest)
        raise Refusal(404, message="Not found")

    # Who may do what

    def _repository(self, kind: str, path: list[str]) -> Repository:
        repository = self.hub.repositories.get((kind, "/".join(path[:2])))
        if repository is None or (repository.private and not self._owns(repository.id)):
            raise Refusal(401 if self.user is None else 404, "RepoNotFound", "Repository not found")
        return repository

    def _owns(self, repo_id: str) -> bool:
        return self.user is not None and repo_id.split("/")[0] in {self.user, *self.hub.organizations}

    def _writes(self, repo_id: str, proposal: bool = False) -> None:
        if self.user is None:
            raise Refusal(401, message="Invalid username or password.")
        if self.token in self.hub.readers or not (proposal or self._owns(repo_id)):
            raise Refusal(403, message=f"You don't have the rights to write to {repo_id}")

    def _at(self, repository: Repository, revision: str) -> Commit:
        commit = repository.find(revision)[1]
        if commit is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    # Repositories

    def _create(self) -> tuple[int, dict, object]:
        asked = json.loads(self.body)
        kind, owner = asked.get("type", "model") + "s", asked.get("organization") or self.user
        repo_id = f"{owner}/{asked['name']}"
        url = f"{self.hub.url}/{'' if kind == 'models' else kind + '/'}{repo_id}"
        self._writes(repo_id)
        if (kind, repo_id) in self.hub.repositories:
            raise Refusal(409, message="You already created this repo", url=url)
        private = asked.get("private", asked.get("visibility") == "private")
        repository = self.hub.repositories[kind, repo_id] = Repository(repo_id, kind, private=private)
        repository.commit(
            "refs/heads/main", {".gitattributes": Blob(ATTRIBUTES, False)}, "initial commit", author=self.user
        )
        return 200, {}, {"url": url, "name": repo_id, "id": repo_id}

    def _delete(self) -> tuple[int, dict, object]:
        asked = json.loads(self.body)
        repo_id = f"{asked.get('organization') or self.user}/{asked['name']}"
        self._writes(repo_id)
        self.hub.repositories.pop((asked.get("type", "model") + "s", repo_id))
        return 200, {}, b""

    def _validate(self, asked: dict) -> tuple[int, dict, object]:
        errors = metadata_errors(asked["content"])
        if errors:
            raise Refusal(
                400, message="Invalid metadata", errors=[{"message": message} for message in errors], warnings=[]
            )
        warnings = [{"message": "empty or missing yaml metadata in repo card"}] if errors is None else []
        return 200, {}, {"errors": [], "warnings": warnings}

    def _info(self, repository: Repository, revision: str = "main") -> tuple[int, dict, object]:
        commit = self._at(repository, revision)
        siblings = [{"rfilename": name} | ({"size": len(blob.content), "blobId": blob.oid} if "blobs" in self.query else {})
                    for name, blob in sorted(commit.files.items())]  # fmt: skip
        said = {
            "_id": "0",
            "id": repository.id,
            "author": repository.id.split("/")[0],
            "sha": commit.oid,
            "lastModified": DATE,
        }
        said |= {
            "private": repository.private,
            "gated": "manual" if repository.gated else False,
            "disabled": False,
            "tags": [],
        }
        return 200, {}, said | {"downloads": 0, "likes": 0, "createdAt": DATE, "siblings": siblings}

    def _revision(self, repository: Repository, revision: str) -> tuple[int, dict, object]:
        return self._info(repository, revision)

    def _auth_check(self, repository: Repository, write: str = "") -> tuple[int, dict, object]:
        if write:
            self._writes(repository.id)
        self._opened(repository)
        return 200, {}, {}

    def _refs(self, repository: Repository) -> tuple[int, dict, object]:
        def of(start: str) -> list[dict]:
            refs = sorted((ref, commit) for ref, commit in repository.refs.items() if ref.startswith(start))
            return [{"name": ref.removeprefix(start), "ref": ref, "targetCommit": commit.oid} for ref, commit in refs]

        said = {"branches": of("refs/heads/"), "tags": of("refs/tags/"), "converts": []}
        return 200, {}, said | ({"pullRequests": of("refs/pr/")} if "include_prs" in self.query else {})

    def _branch(self, repository: Repository, name: str) -> tuple[int, dict, object]:
        self._writes(repository.id)
        ref = f"refs/heads/{name}"
        if self.command == "DELETE":
            del repository.refs[ref]
        elif ref in repository.refs:
            raise Refusal(409, message=f"Reference already exists: {ref}")
        else:
            asked = json.loads(self.body or b"{}")
            repository.refs[ref] = self._at(repository, asked.get("startingPoint", "main"))
        return 200, {}, {}

    def _tag(self, repository: Repository, revision: str) -> tuple[int, dict, object]:
        self._writes(repository.id)
        ref = f"refs/tags/{json.loads(self.body)['tag']}" if self.command == "POST" else f"refs/tags/{revision}"
        if self.command == "DELETE":
            del repository.refs[ref]
        elif ref in repository.refs:
            raise Refusal(409, message="Tag reference exists already")
        else:
            repository.refs[ref] = self._at(repository, revision)
        return 200, {}, {}

    def _commits(self, repository: Repository, revision: str) -> tuple[int, dict, object]:
        commits = history(self._at(repository, revision))
        said = [{"id": commit.oid, "title": commit.title, "message": commit.message, "date": DATE, "authors": [{"user": commit.author}]}
                for commit in commits]  # fmt: skip
        return 200, {}, said

    def _discussions(self, repository: Repository, number: str = "") -> tuple[int, dict, object]:
        if number:
            found = repository.discussions[int(number) - 1]
            changes = {"base": "refs/heads/main"}
            return 200, {}, found | {"events": [], "changes": changes, "diffUrl": None, "filesWithConflicts": []}
        return 200, {}, {"discussions": repository.discussions, "count": len(repository.discussions), "start": 0}

    # Files

    def _listing(self, commit: Commit, names: list[str]) -> list[dict]:
        entries = []
        for name in names:
            blob = commit.files.get(name)
            if blob is None and any(file.startswith(name + "/") for file in commit.files):
                entries.append(
                    {"type": "directory", "path": name, "oid": hashlib.sha1(name.encode()).hexdigest(), "size": 0}
                )
            elif blob is not None:
                entry = {"type": "file", "path": name, "oid": blob.oid, "size": len(blob.content)}
                lfs = {"oid": blob.sha256, "size": len(blob.content), "pointerSize": len(blob.pointer)}
                entry |= {"lfs": lfs} if blob.large else {}
                if self.query.get("expand", "").lower() == "true" or self.expand:
                    entry |= {"lastCommit": {"id": commit.oid, "title": commit.title, "date": DATE}}
                    safe = {"status": "safe", "avScan": None, "pickleImportScan": None}
                    entry |= {"securityFileStatus": safe}
                entries.append(entry)
        return entries

    expand = False

    def _tree(self, repository: Repository, revision: str, *under: str) -> tuple[int, dict, object]:
        commit, start = self._at(repository, revision), "/".join(under).strip("/")
        start = start + "/" if start else ""
        names: set[str] = set()
        for name in commit.files:
            if name.startswith(start):
                steps = name.removeprefix(start).split("/")
                names |= {start + steps[0]}
                if self.query.get("recursive", "").lower() in ("true", "1"):
                    names |= {start + "/".join(steps[: i + 1]) for i in range(len(steps))}
        if start and not names:
            raise Refusal(404, "EntryNotFound", f"{start} does not exist on {revision}")
        entries = self._listing(commit, sorted(names))
        if not start:
            entries += [{"type": "file", "path": name, "oid": "0" * 40, "size": 4} for name in repository.listed_too]
        first = int(self.query.get("cursor", 0))
        last, headers = first + self.hub.page_size, {}
        if last < len(entries):
            more = "&".join(f"{name}={quote(value)}" for name, value in (self.query | {"cursor": str(last)}).items())
            headers = {"Link": f'<{self.hub.url}{urlsplit(self.path).path}?{more}>; rel="next"'}
        return 200, headers, entries[first:last]

    def _paths_info(self, repository: Repository, revision: str) -> tuple[int, dict, object]:
        if "json" in self.headers.get("Content-Type", ""):
            asked = json.loads(self.body)
            paths, expand = asked["paths"], asked.get("expand", False)
        else:
            form = parse_qs(self.body.decode())
            paths, expand = form.get("paths", []), form.get("expand", ["false"])[-1].lower() == "true"
        self.expand = bool(expand)
        return 200, {}, self._listing(self._at(repository, revision), paths)

    def _opened(self, repository: Repository) -> None:
        if repository.gated and not (self._owns(repository.id) or self.user in repository.granted):
            said = f"Access to model {repository.id} is restricted."
            raise Refusal(401 if self.user is None else 403, "GatedRepo", said)

    def _resolve(self, repository: Repository, revision: str, name: str, redirect: bool) -> tuple[int, dict, object]:
        commit = self._at(repository, revision)
        self._opened(repository)
        headers = {"X-Repo-Commit": commit.oid}
        blob = commit.files.get(name)
        if blob is None and name in repository.listed_too:
            blob = Blob(b"evil", False)
        if blob is None:
            refusal = Refusal(404, "EntryNotFound", "Entry not found")
            refusal.headers |= headers
            raise refusal
        if blob.large:
            headers |= {"X-Linked-Etag": f'"{blob.tag}"', "X-Linked-Size": str(len(blob.content))}
            return (
                302,
                headers | {"Location": f"{self.hub.storage_url}/objects/{blob.sha256}", "ETag": f'"{blob.oid}"'},
                b"",
            )
        if redirect and not (
            repository.private or repository.gated
        ):  # those are served at once, as no cache may have them
            place = f"/api/resolve-cache/{repository.kind}/{repository.id}/{commit.oid}/{quote(name)}?etag={quote(blob.tag)}"
            return 307, headers | {"Location": place}, b""
        status, more, content = self._piece(blob.content)
        return status, headers | more | {"ETag": f'"{blob.tag}"', "Content-Type": "text/plain; charset=utf-8"}, content

    # A commit: preupload, LFS, commit

    def _preupload(self, repository: Repository, revision: str) -> tuple[int, dict, object]:
        self._writes(repository.id, proposal="create_pr" in self.query)
        commit = self._at(repository, revision)
        files = []
        for asked in json.loads(self.body)["files"]:
            name, sample = safe(asked["path"]), base64.b64decode(asked["sample"])
            mode = "lfs" if is_large(name, sample, asked["size"]) else "regular"
            there = commit.files.get(name)
            files.append(
                {"path": name, "uploadMode": mode, "shouldIgnore": False} | ({"oid": there.tag} if there else {})
            )
        return 200, {}, {"files": files}

    def _large(self, repository: Repository, what: str) -> tuple[int, dict, object]:
        self._writes(repository.id, proposal=True)
        asked = json.loads(self.body)
        if what == "batch" and not (
            asked["operation"] == "upload" and "basic" in asked["transfers"] and asked["hash_algo"] == "sha256"
        ):
            raise Refusal(422, message="no such transfer")
        base = f"{self.hub.url}/{'' if repository.kind == 'models' else repository.kind + '/'}{repository.id}.git/info/lfs/objects"
        if what == "verify":
            if len(self.hub.stored.get(asked["oid"], b"")) != asked["size"]:
                raise Refusal(404, message="no such object")
            return 200, {}, {}
        objects, limit_met = [], False
        for item in asked["objects"]:
            oid, size, limit = item["oid"], item["size"], self.hub.multipart_above
            entry: dict = {"oid": oid, "size": size}
            if oid not in self.hub.stored:
                href = f"{self.hub.storage_url}/objects/{oid}"
                upload: dict = {"href": href}
                if limit and size > limit and "multipart" in asked["transfers"]:
                    limit_met = True
                    upload = {"href": f"{href}/complete", "header": {"chunk_size": str(limit)}}
                    upload["header"] |= {str(i + 1): f"{href}/parts/{i + 1}" for i in range(-(-size // limit))}
                entry["actions"] = {"upload": upload, "verify": {"href": f"{base}/verify"}}
            objects.append(entry)
        return (
            200,
            {"Content-Type": "application/vnd.git-lfs+json"},
            {"transfer": "multipart" if limit_met else "basic", "objects": objects},
        )

    def _commit(self, repository: Repository, revision: str) -> tuple[int, dict, object]:
        proposal = "create_pr" in self.query
        self._writes(repository.id, proposal)
        ref, parent = repository.find(revision)
        if parent is None or ref is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if proposal and ref != "refs/heads/main":
            raise Refusal(400, message="A pull request can only be opened against main")
        lines = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        if (
            self.headers["Content-Type"] != "application/x-ndjson"
            or lines[0]["key"] != "header"
            or not lines[0]["value"].get("summary")
        ):
            raise Refusal(400, message="expected lines of JSON, the first of them a header with a summary")
        header = lines[0]["value"]
        if not parent.oid.startswith(header.get("parentCommit", "")) and not proposal:
            raise Refusal(412, message="A commit has happened since. Please refresh and try again.")
        files = dict(parent.files)
        for line in lines[1:]:
            value = line["value"]
            name = safe(value["path"])
            if line["key"] == "file":
                content = (
                    base64.b64decode(value["content"])
                    if value.get("encoding") == "base64"
                    else value["content"].encode()
                )
                if content and is_large(name, content[:512], len(content)):
                    raise Refusal(
                        400, message=f"Your push was rejected because it contains binary files. Offending files: {name}"
                    )
                if name == "README.md" and (errors := metadata_errors(content.decode())):
                    raise Refusal(400, message=f"Invalid metadata in README.md: {errors[0]}")
                files[name] = Blob(content, False)
            elif line["key"] == "lfsFile":
                there = self.hub.stored.get(value["oid"])
                if (
                    value["algo"] != "sha256" or there is None or len(there) != value.get("size", len(there))
                ):  # copies say no size
                    raise Refusal(400, message=f"LFS object {value['oid']} of {name} was not uploaded")
                files[name] = Blob(self.hub.stored[value["oid"]], True)
            elif line["key"] == "deletedFile":
                if files.pop(name, None) is None:
                    raise Refusal(404, "EntryNotFound", "A file with this name doesn't exist")
            elif line["key"] == "deletedFolder":
                files = {file: blob for file, blob in files.items() if not file.startswith(name.rstrip("/") + "/")}
            else:
                raise Refusal(400, message=f"no such operation: {line['key']}")
        base = f"{self.hub.url}/{'' if repository.kind == 'models' else repository.kind + '/'}{repository.id}"
        said = {"success": True, "hookOutput": ""}
        if proposal:
            number = len(repository.discussions) + 1
            ref = f"refs/pr/{number}"
            repository.refs[ref] = parent
            described = {
                "num": number,
                "title": header["summary"],
                "status": "open",
                "isPullRequest": True,
                "createdAt": DATE,
            }
            repository.discussions.append(
                described
                | {"author": {"name": self.user}, "repo": {"name": repository.id, "type": repository.kind[:-1]}}
            )
            said["pullRequestUrl"] = f"{base}/discussions/{number}"
        commit = repository.commit(ref, files, header["summary"], header.get("description", ""), self.user)
        return 200, {}, said | {"commitUrl": f"{base}/commit/{commit.oid}", "commitOid": commit.oid}


ENDPOINTS = {
    "info", "revision", "auth-check", "refs", "branch", "tag", "commits", "discussions", "tree", "paths-info", "preupload", "commit",
}  # fmt: skip
"""What may follow the name of a repository in /api/models/..."""
