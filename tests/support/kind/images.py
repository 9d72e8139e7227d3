"""The images of the tests on real nodes: built by docker, loaded into kind's nodes."""

import os
import shlex
from pathlib import Path
from typing import NamedTuple

from support.commands import run, step
from support.kind.kind import GIVEN, NAME, ROOT

TAG = "e2e"


class Image(NamedTuple):
    """An image, and what it is built from."""

    repository: str
    dockerfile: Path
    context: Path
    target: str = ""

    @property
    def name(self) -> str:
        """As docker and pods have it."""
        return f"{self.repository}:{TAG}"


OPERATOR = Image("sitelog", ROOT / "Dockerfile", ROOT, "operator")
UPLOADER = Image("sitelog-uploader", ROOT / "Dockerfile", ROOT, "uploader")
SITE = Image("sitelog-e2e-site", ROOT / "tests/e2e/site.Dockerfile", ROOT / "tests/e2e")


def provide_images() -> None:
    """Build what has changed, and load what the nodes of our kind cluster lack."""
    base = os.environ.get("PYTHON_BASE_IMAGE")
    flags = shlex.split(os.environ.get("DOCKER_BUILD_FLAGS", ""))
    if base:
        flags.append(f"--build-arg=BASE={base}")
    for image in (OPERATOR, UPLOADER, SITE):
        with step(f"docker build of {image.name}"):
            target = [f"--target={image.target}"] if image.target else []
            where = [f"--file={image.dockerfile}", f"--tag={image.name}", str(image.context)]
            run("docker", "build", *flags, *target, *where)
    with step("loading the images into the cluster"):
        run("kind", "load", "docker-image", OPERATOR.name, UPLOADER.name, SITE.name, f"--name={NAME}")


def build_id(image: Image) -> str:
    """What tells a build from the one before; nothing for images that are somebody else's."""
    return "" if GIVEN else run("docker", "image", "inspect", "--format={{.Id}}", image.name).strip()
