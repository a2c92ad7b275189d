"""A real OCI registry on loopback (Debian's ``docker-registry``), and a token service beside it.

Images are pushed over plain HTTP. Where the binary is not there, the fixtures skip by its name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from tests.api.faulty import Answer, Faulty, Seen

BINARY = shutil.which("docker-registry")
USER, PASSWORD = "ada", "s3cret-word"
HTPASSWD = f"{USER}:$2b$04$3femIxEXZepxfxRDi7H3Fe62X5MXfrPnWNGzwaq37ZhNx7VspJHnu\n"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
TOKEN = "eyJ-a-token-of-the-token-service"

needs_registry = pytest.mark.skipif(
    not BINARY, reason="docker-registry is not here: apt-get install docker-registry"
)


class Registry:
    """``docker-registry serve`` between ``with`` and the end of its block.

    ``auth`` is a provider of its configuration (``{"htpasswd": ...}``, ``{"silly": ...}``), None
    for a registry that lets everybody in; ``certificate`` and its key, in one file, make it speak
    TLS; ``log`` has its lines, one a request.
    """

    def __init__(self, auth: dict[str, Any] | None = None, certificate: Path | None = None) -> None:
        self._auth = auth
        self._tls = {"certificate": str(certificate), "key": str(certificate)}
        self._scheme = "https" if certificate else "http"
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(certificate) if certificate else True

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> list[str]:
        return (self._folder / "log").read_text().splitlines()

    def asked(self, repository: str) -> int:
        """Return how many requests for a repository's manifests have come in."""
        return sum(f"GET /v2/{repository}/manifests/" in line for line in self.log)

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="registry-"))
        config = {
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(self._folder / "data")}},
            "http": {"addr": "127.0.0.1:0"}
            | ({"tls": self._tls} if self._scheme == "https" else {}),
        } | ({"auth": self._auth} if self._auth else {})
        (self._folder / "config.yml").write_text(json.dumps(config))
        (self._folder / "htpasswd").write_text(HTPASSWD)
        clean = {key: value for key, value in os.environ.items() if "REGISTRY" not in key}
        clean["OTEL_TRACES_EXPORTER"] = "none"
        assert BINARY
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [BINARY, "serve", "config.yml"],
                cwd=self._folder,
                env=clean,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.port = self._listening()
        return self

    def __exit__(self, *about: object) -> None:
        assert self._process
        self.session.close()
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._folder)

    def _listening(self) -> int:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            for line in self.log:
                if found := re.search(r"listening on 127\.0\.0\.1:(\d+)", line):
                    return int(found[1])
            time.sleep(0.02)
        raise RuntimeError("docker-registry did not start:\n" + "\n".join(self.log))

    def push(self, repository: str, tag: str, content: str = "") -> str:
        """Push a small image and return the digits of its digest."""
        config = self._blob(repository, json.dumps({"architecture": "amd64"}).encode())
        layer = self._blob(repository, f"{repository} {tag} {content}".encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, **config},
            "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", **layer}],
        }
        return self._manifest(repository, tag, MANIFEST, manifest)

    def push_index(
        self, repository: str, tag: str, platforms: Sequence[str] = ("linux/amd64", "linux/arm64")
    ) -> tuple[str, list[str]]:
        """Push an image for several platforms; return the digits of the index and of each image."""
        digests = [self.push(repository, f"{tag}-{one.replace('/', '-')}") for one in platforms]
        members = []
        for platform, digest in zip(platforms, digests, strict=True):
            system, _, architecture = platform.partition("/")
            members.append(
                {
                    "mediaType": MANIFEST,
                    "digest": f"sha256:{digest}",
                    "size": 1,
                    "platform": {"os": system, "architecture": architecture},
                }
            )
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": members}
        return self._manifest(repository, tag, INDEX, index), digests

    def _manifest(self, repository: str, tag: str, media: str, manifest: object) -> str:
        body = json.dumps(manifest).encode()
        where = f"{self._scheme}://{self.name}/v2/{repository}/manifests/{tag}"
        done = self.session.put(where, data=body, headers={"Content-Type": media}, timeout=10)
        assert done.status_code == 201, done.text
        return hashlib.sha256(body).hexdigest()

    def _blob(self, repository: str, content: bytes) -> dict[str, object]:
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        uploads = f"{self._scheme}://{self.name}/v2/{repository}/blobs/uploads/"
        start = self.session.post(uploads, timeout=10)
        assert start.status_code == 202, start.text
        where = start.headers["Location"]
        where += ("&" if "?" in where else "?") + "digest=" + digest
        assert self.session.put(where, data=content, timeout=10).status_code == 201
        return {"digest": digest, "size": len(content)}


def with_passwords() -> Registry:
    """Return a registry that wants USER and PASSWORD."""
    registry = Registry({"htpasswd": {"realm": "the registry", "path": "htpasswd"}})
    registry.session.auth = (USER, PASSWORD)
    return registry


@dataclass
class TokenService:
    """Hands out TOKEN; ``wants`` an Authorization header or anybody is welcome. Keeps requests."""

    wants: str = ""
    granted: object = field(default_factory=lambda: {"token": TOKEN})
    server: Faulty = field(init=False)

    def __post_init__(self) -> None:
        self.server = Faulty(self._answer)

    @property
    def realm(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/service/token"

    def queries(self) -> list[dict[str, list[str]]]:
        return [parse_qs(urlsplit(seen.target).query) for seen in self.server.requests]

    def _answer(self, seen: Seen) -> Answer:
        if self.wants and seen.headers.get("Authorization", "") != self.wants:
            return Answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"no"}]}')
        return Answer(200, json.dumps(self.granted).encode())


@contextlib.contextmanager
def with_tokens(service: TokenService) -> Iterator[Registry]:
    """Yield a registry that sends everybody to ``service`` for a token."""
    auth = {"silly": {"realm": service.realm, "service": "the registry"}}
    with service.server, Registry(auth) as registry:
        registry.session.headers["Authorization"] = f"Bearer {TOKEN}"
        yield registry
