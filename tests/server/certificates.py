"""Generates certificates with openssl: an authority, a server for `localhost`, and a client."""

import shutil
import subprocess

import pytest

_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def make(folder):
    """Write ca.pem, server.pem, client.pem, stranger.pem and their keys; stranger is self-signed."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    for name in ("ca", "stranger"):
        _openssl(folder, "req", "-x509", *_NEW_KEY, "-days", "2", "-subj", f"/CN={name}", *_files(name))
    for name in ("server", "client"):
        request = ["-keyout", f"{name}.key", "-out", f"{name}.csr"]
        _openssl(folder, "req", *_NEW_KEY, "-subj", f"/CN={name}", *request)
        (folder / "san").write_text("subjectAltName=DNS:localhost,DNS:cigpose-pods.cigpose.svc.cluster.local\n")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "san", "-out", f"{name}.pem"]
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-days", "2", *signed)
    return folder


def _files(name):
    return ["-keyout", f"{name}.key", "-out", f"{name}.pem"]


def _openssl(folder, *arguments):
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this openssl cannot make the certificates: {done.stderr.splitlines()[-1]}")
