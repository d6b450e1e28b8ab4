"""The steps of the CPU image in a plain folder: its COPY lines, its backend directory, its ENTRYPOINT and CMD."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tritonclient.grpc

from server import manifest

CHECKOUT = Path(__file__).parents[2]
_DEPLOY = CHECKOUT / "deploy"
DOCKERFILE = _DEPLOY / "docker" / "Dockerfile.cpu"
CLIENT = Path(sys.executable).with_name("cigpose-client")


@dataclass(frozen=True)
class Image:
    """The image's /opt/cigpose as a folder, and the model repository, which a pod mounts at /models."""

    root: Path
    models: Path

    def command(self, flags):
        """Return ENTRYPOINT and `flags`, with the image's paths replaced by this folder's."""
        entrypoint = instruction("ENTRYPOINT")
        assert entrypoint[0] == "python3"
        places = {"=/opt/cigpose": f"={self.root}", "=/models": f"={self.models}"}
        for inside, here in places.items():
            flags = [flag.replace(inside, here) for flag in flags]
        return [sys.executable, *entrypoint[1:], *flags]

    @property
    def environment(self):
        """The environment that `ENV` sets, with this folder in place of the image's."""
        return {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}


def default_flags():
    """Return the image's CMD."""
    return instruction("CMD")


def liveness_arguments():
    """Return the arguments of `cigpose-client` in the liveness probe of base/deployment.yaml."""
    base = (_DEPLOY / "base" / "deployment.yaml").read_text(encoding="utf-8")
    (arguments,) = re.findall(r"command: \[cigpose-client, (check[^]]*)\]", base)
    return arguments.split(", ")


def build(folder, repository):
    """Run the last stage's COPY lines and its layout of the backends; the packages are those of this environment."""
    root = copied(DOCKERFILE, folder / "opt")
    stage = last_stage(DOCKERFILE)
    image = Image(root, shutil.copytree(repository, folder / "models", ignore=shutil.ignore_patterns("__pycache__")))
    (backends,) = re.findall(r"^RUN python3 (-m deploy\.backends) /opt/cigpose/backends$", stage, re.M)
    command = [sys.executable, *backends.split(), str(root / "backends")]
    subprocess.run(command, cwd=root, env=image.environment, check=True)
    manifest.write(image.models)
    return image


def copied(dockerfile, root):
    """Run the COPY lines of the last stage with `root` in place of /opt/cigpose; return `root`."""
    for sources, target in re.findall(r"^COPY (?!--from)(.+) /opt/cigpose/(\S+)$", last_stage(dockerfile), re.M):
        for source in sources.split():
            copy(CHECKOUT / source, root / target / (Path(source).name if target.endswith("/") else ""))
    return root


def last_stage(dockerfile):
    """Return the text of the last stage, each instruction on one line."""
    return dockerfile.read_text(encoding="utf-8").split("\nFROM ")[-1].replace("\\\n", " ")


@contextlib.contextmanager
def running(image, port, log, flags=(), *, instead=None, wrapper=(), ready=None, timeout_s=120):
    """Run the image's command during the block.

    Args:
        image: the image.
        port: gRPC port.
        log: file for the output.
        flags: additional flags.
        instead: flags that replace those of the image.
        wrapper: command that runs the command.
        ready: returns whether the server is ready; None: ask without TLS.
        timeout_s: longest time until it is ready.
    """
    where = ["--grpc-address=127.0.0.1", f"--grpc-port={port}"]
    if not any(flag.startswith("--metrics-port=") for flag in flags):
        where.append("--allow-metrics=false")
    prefix = f"cigpose-image-{os.getpid()}-{port}-"  # unlike a pod's, this machine's /dev/shm is shared
    where.append(f"--backend-config=python,shm-region-prefix-name={prefix}")
    command = [*wrapper, *image.command([*(instead or default_flags()), *where, *flags])]
    # a pod mounts the models read-only; here, Python writes caches
    for cache in list(Path(image.models).rglob("__pycache__")):
        shutil.rmtree(cache)
    with log.open("wb") as output:
        place = None if wrapper else image.root  # a wrapper changes to its own folder
        environment = {**image.environment, "PYTHON": sys.executable}
        process = subprocess.Popen(command, cwd=place, env=environment, stdout=output, stderr=output)
        try:
            _wait(process, ready or (lambda: _is_ready(port)), log, timeout_s)
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
            process.wait()
            for region in Path("/dev/shm").glob(f"{prefix}*"):
                region.unlink(missing_ok=True)


def _wait(process, ready, log, timeout_s):
    deadline = time.monotonic() + timeout_s
    while not ready():
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, f"not ready after {timeout_s} s: {log.read_text()[-3000:]}"
        time.sleep(0.1)


def _is_ready(port):
    with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}") as client:
        with contextlib.suppress(tritonclient.grpc.InferenceServerException):
            return client.is_server_ready(client_timeout=1.0)
    return False


def instruction(name, dockerfile=DOCKERFILE):
    """Return the list of an instruction, such as ENTRYPOINT."""
    (value,) = re.findall(rf"^{name} (\[.*\])$", last_stage(dockerfile), re.M)
    return json.loads(value)


def copy(source, target):
    """Copy a file or a folder, as a COPY line does."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target)
