"""Pictures that someone searches by, decoded apart."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from ingest import sample
from ingest.child import Decoder, DecoderDied
from ingest.errors import NotVideo, TooLarge

MADE = Image.effect_mandelbrot((64, 48), (-2, -1, 1, 1), 50).convert("RGB")


def written(kind: str, picture: Image.Image = MADE) -> bytes:
    data = io.BytesIO()
    picture.save(data, kind)
    return data.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "GIF", "JPEG", "WEBP"])
def test_a_picture_is_what_it_was(kind: str) -> None:
    found = sample.decoded(written(kind))
    assert (found.shape, found.dtype) == ((48, 64, 3), np.uint8)
    assert np.abs(found.astype(int) - np.asarray(MADE).astype(int)).mean() < 8


def test_what_is_no_picture_or_too_large_is_told() -> None:
    for data in (b"", b"no picture", written("PNG")[:60], written("BMP")):
        with pytest.raises(NotVideo):
            sample.decoded(data)
    with pytest.raises(TooLarge):
        sample.decoded(written("GIF", Image.new("P", (10_000, 6_000))))


def test_a_decoder_that_dies_of_a_picture_takes_nobody_along(monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise DecoderDied("The decoder was ended by it (signal 11).", advice="…")

    monkeypatch.setattr(Decoder, "result", die)
    with pytest.raises(NotVideo) as caught:
        sample.decoded(written("PNG"))
    assert caught.value.advice


def test_the_service_itself_decodes_none() -> None:
    code = f"from ingest import sample; import sys; sample.decoded({written('PNG')!r}); print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "False"
