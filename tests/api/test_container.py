"""What a container engine asks a service that wants its key, as it does in a container."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from pydantic import SecretStr

from api.settings import Settings
from tests.api.conftest import running

DOCKERFILE = Path(__file__).parents[2] / "deploy" / "Dockerfile"


def test_the_check_of_a_container_has_the_key(settings: Settings) -> None:
    found = re.search(r"^HEALTHCHECK (?:.*\\\n)*\s*CMD (.+)", DOCKERFILE.read_text(), re.MULTILINE)
    assert found
    with running(settings.model_copy(update={"key": SecretStr("open sesame")})) as (_, http):
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "HINDSIGHT_HOST": "0.0.0.0",
            "HINDSIGHT_PORT": str(http.base_url.port),
        }
        for key, status in (("open sesame", 0), ("another", 1)):
            keyed = {**environment, "HINDSIGHT_KEY": key}
            done = subprocess.run(["/bin/sh", "-c", found[1]], env=keyed, capture_output=True, text=True, check=False)
            assert done.returncode == status, done.stderr
