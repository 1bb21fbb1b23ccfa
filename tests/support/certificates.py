"""Certificates made with openssl: an authority, and what it signs."""

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.database import missing


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates into a folder."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        if shutil.which("openssl") is None:
            missing("openssl")
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.certificate, self._key = folder / "ca.crt", folder / "ca.key"
        self._run(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3650",
            "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.certificate,
        )  # fmt: skip

    def sign(self, subject: str, *, days: int = 365, expired: bool = False) -> Certificate:
        """A certificate: `/CN=his.example/O=H1`."""
        name = subject.strip("/").replace("/", "_").replace("=", "-")
        made = Certificate(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        request, extensions = self._folder / f"{name}.csr", self._folder / f"{name}.ext"
        extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self._run(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject,
            "-keyout", made.key, "-out", request,
        )  # fmt: skip
        if expired:
            self._sign_expired(request, made.certificate)
        else:
            self._run(
                "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
                "-days", days, "-extfile", extensions, "-out", made.certificate,
            )  # fmt: skip
        return made

    def _sign_expired(self, request: Path, certificate: Path) -> None:
        """`openssl x509` knows no dates; `openssl ca` does, and wants its files."""
        (self._folder / "index.txt").write_text("")
        (self._folder / "serial").write_text("7001\n")
        config = self._folder / "ca.cnf"
        config.write_text(
            "[ca]\ndefault_ca=one\n[one]\n"
            f"database={self._folder}/index.txt\nserial={self._folder}/serial\nnew_certs_dir={self._folder}\n"
            "default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\norganizationName=optional\n"
        )
        self._run(
            "ca", "-batch", "-config", config, "-in", request, "-cert", self.certificate, "-keyfile", self._key,
            "-startdate", "20200101000000Z", "-enddate", "20210101000000Z", "-notext", "-out", certificate,
        )  # fmt: skip

    @staticmethod
    def _run(*words: object) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def client_context(authority: Authority, own: Certificate | None = None) -> ssl.SSLContext:
    """A sender's side; without `own` it shows no certificate."""
    context = ssl.create_default_context(cafile=authority.certificate)
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context
