"""A certificate for this machine that nobody has signed but itself, and whom it makes trust."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .harness import require


@dataclass(frozen=True)
class Certificate:
    """``pem`` holds the certificate and its key, as all web servers take them from one file."""

    pem: Path
    trust: ssl.SSLContext


def make_certificate(directory: Path) -> Certificate:
    """For 127.0.0.1, in a file of this directory."""
    pem, key = directory / "site.pem", directory / "site.key"
    command = [require("openssl", "openssl"), "req", "-x509", "-nodes", "-days", "2"]
    command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=site"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(pem)]
    subprocess.run(command, check=True, capture_output=True)
    trust = ssl.create_default_context(cafile=pem)
    with pem.open("a") as file:
        file.write(key.read_text())
    return Certificate(pem, trust)
