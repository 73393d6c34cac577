"""A server on this machine that answers as the Hugging Face Hub does, as far as runs are pushed and fetched."""

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

TOKEN = "hf_of_the_owner"


class Hub(ThreadingHTTPServer):
    """Repositories as dictionaries of files; every commit stays."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.commits: dict[str, list[tuple[str, dict[str, bytes]]]] = {}
        self.private: set[str] = set()
        self.asked: list[str] = []
        self.sizes: dict[str, int] = {}  # told instead of the true ones
        self.sha: str | None = None
        self.moved_to: str | None = None  # the address of another server that has the files
        self.shown: list[str | None] = []  # what visitors showed as their authorization
        self.before_each_file: Callable[[], object] = lambda: None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def files(self, repository: str) -> dict[str, bytes]:
        return self.commits[repository][-1][1]

    def commit(self, repository: str, files: dict[str, bytes]) -> str:
        listed = self.commits.setdefault(repository, [])
        sha = hashlib.sha1(f"{repository} {len(listed)}".encode()).hexdigest()
        listed.append((sha, files))
        return sha


class _Answers(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def _send(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), Content_Type="application/json")

    def _find(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """A commit, unless the answer was that there is none for this visitor."""
        is_owner = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        listed = self.server.commits.get(repository)
        if listed is None or (repository in self.server.private and not is_owner):
            self._send(404 if is_owner else 401, X_Error_Code="RepoNotFound", X_Error_Message="Repository not found")
            return None
        found = listed[-1:] if revision == "main" else [entry for entry in listed if entry[0] == revision]
        if not found:
            self._send(404, X_Error_Code="RevisionNotFound", X_Error_Message="Invalid rev id")
            return None
        return found[0]

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/").split("/")
        self.server.asked.append("/".join(path))
        self.server.shown.append(self.headers.get("Authorization"))
        if path[:2] == ["api", "models"]:
            repository, revision = "/".join(path[2:4]), path[5] if len(path) > 5 else "main"
            if found := self._find(repository, revision):
                sizes = {name: len(content) for name, content in found[1].items()} | self.server.sizes
                siblings = [{"rfilename": name, "size": size, "blobId": name} for name, size in sizes.items()]
                self._json(
                    {
                        "id": repository,
                        "sha": self.server.sha or found[0],
                        "siblings": siblings,
                        "private": repository in self.server.private,
                    }
                )
        elif len(path) > 4 and path[2] == "resolve":
            found, name = self._find("/".join(path[:2]), path[3]), "/".join(path[4:])
            self.server.before_each_file()
            if found and name in found[1] and self.server.moved_to:
                sha, size = found[0], str(len(found[1][name]))
                etag = hashlib.sha1(found[1][name]).hexdigest()
                place = f"{self.server.moved_to}{self.path}"
                self._send(302, Location=place, X_Repo_Commit=sha, X_Linked_Size=size, X_Linked_ETag=f'"{etag}"')
            elif found and name in found[1]:
                etag = hashlib.sha1(found[1][name]).hexdigest()
                self._send(200, found[1][name], ETag=f'"{etag}"', X_Repo_Commit=found[0])
            elif found:
                self._send(404, X_Error_Code="EntryNotFound")
        else:
            self._send(404)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        body = self._body()
        path = unquote(urlsplit(self.path).path).strip("/").split("/")
        self.server.asked.append("/".join(path))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, b'{"error": "Invalid username or password."}')
        elif path == ["api", "validate-yaml"]:
            self._json({"warnings": [], "errors": []})
        elif path == ["api", "repos", "create"]:
            asked = json.loads(body)
            repository = f"{asked.get('organization') or 'me'}/{asked['name']}"
            if repository not in self.server.commits:
                self.server.commit(repository, {})
                if asked.get("private") or asked.get("visibility") == "private":
                    self.server.private.add(repository)
            self._json({"url": f"{self.server.address}/{repository}", "name": repository, "id": repository})
        elif path[4] == "preupload":
            files = [{"path": file["path"], "uploadMode": "regular"} for file in json.loads(body)["files"]]
            self._json({"files": [{**file, "shouldIgnore": False} for file in files]})
        elif path[4] == "commit":
            self._commit("/".join(path[2:4]), [json.loads(line) for line in body.splitlines()])

    def _commit(self, repository: str, lines: list[dict]) -> None:
        files = dict(self.server.files(repository))
        if lines[0]["value"].get("parentCommit") not in (None, self.server.commits[repository][-1][0]):
            self._send(412, b'{"error": "A commit has happened since."}')
            return
        for line in lines:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        sha = self.server.commit(repository, files)
        self._json({"commitUrl": f"{self.server.address}/{repository}/commit/{sha}", "commitOid": sha})

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)
