"""How the stand-in for the Hub speaks HTTP, and the storage that it redirects large files to."""

from __future__ import annotations

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from hub_contents import Refusal

if TYPE_CHECKING:
    from hub_server import HubServer


class Handler(BaseHTTPRequestHandler):
    """One request: read, answered by `answer`, written down in `hub.requests`."""

    protocol_version = "HTTP/1.1"
    hub: HubServer
    server_name = ""

    def log_message(self, *_) -> None:  # quiet
        pass

    def _serve(self) -> None:
        self.close_connection = False
        parts = urlsplit(self.path)
        self.query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.hub.requests.append((self.server_name, self.command, unquote(parts.path), "Authorization" in self.headers))
        try:
            self.body = self._read()
            status, headers, content = self.answer([unquote(part) for part in parts.path.strip("/").split("/")])
        except Refusal as refusal:
            status, headers, content = refusal.status, refusal.headers, refusal.body
        except ConnectionError:
            self.close_connection = True
            return
        if not isinstance(content, bytes):
            content, headers = json.dumps(content).encode(), {"Content-Type": "application/json"} | headers
        try:
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(content))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
        except ConnectionError:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            content = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                content += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return content
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _piece(self, content: bytes) -> tuple[int, dict, bytes]:
        """The content, or the range of it that was asked for."""
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return 200, {"Accept-Ranges": "bytes"}, content
        first, last = asked.groups()
        start = int(first) if first else max(len(content) - int(last), 0)
        stop = min(int(last) + 1, len(content)) if first and last else len(content)
        if start >= stop:
            raise Refusal(416, message="no such range")
        return 206, {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}, content[start:stop]

    def answer(self, path: list[str]) -> tuple[int, dict, object]:
        """Status, headers, content."""
        raise NotImplementedError


class Storage(Handler):
    """Where large files lie; addresses are secrets here, and a token besides is refused, as S3 does."""

    server_name = "storage"

    def _read(self) -> bytes:
        with self.hub.lock:
            cut = self.command == "PUT" and self._cut()
        if cut:
            self.rfile.read(int(self.headers.get("Content-Length") or 2) // 2)
            self.connection.close()
            raise ConnectionAbortedError
        return super()._read()

    def _cut(self) -> bool:
        if self.hub.cut_while is not None and self.hub.cut_while.exists():
            self.hub.cut_after -= 1
            return self.hub.cut_after < 0
        self.hub.cut_uploads -= 1
        return self.hub.cut_uploads >= 0

    def answer(self, path: list[str]) -> tuple[int, dict, object]:
        """PUT and GET of objects; parts of objects, and putting them together."""
        if "Authorization" in self.headers:
            raise Refusal(400, message="Only one auth mechanism allowed")
        oid = path[1]
        if self.command == "POST":  # objects/OID/complete
            content = b"".join(self.hub.parts[oid, part["partNumber"]] for part in json.loads(self.body)["parts"])
            if hashlib.sha256(content).hexdigest() != oid:
                raise Refusal(400, message="the parts are not what the name says")
            self.hub.stored[oid] = content
            return 200, {}, {}
        if self.command != "PUT":
            if oid not in self.hub.stored:
                raise Refusal(404, message="no such object")
            status, headers, content = self._piece(self.hub.stored[oid])
            return status, headers | {"ETag": f'"{oid}"'}, content
        with self.hub.lock:
            self.hub.uploads.append("/".join(path[1:]))
            if len(path) == 4:  # objects/OID/parts/N
                self.hub.parts[oid, int(path[3])] = self.body
                return 200, {"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'}, b""
            if hashlib.sha256(self.body).hexdigest() != oid:
                raise Refusal(400, message="the content is not what its name says")
            self.hub.stored[oid] = self.body
        return 200, {"ETag": f'"{oid}"'}, b""
