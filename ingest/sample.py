"""A picture that someone searches by: a stranger's bytes, and so decoded in a child like any video."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from ingest.child import Decoder, DecoderDied
from ingest.errors import NotVideo, TooLarge
from ingest.limits import Limits
from ingest.records import Pixels

if TYPE_CHECKING:
    from ingest.decode import Emit

MOST_PIXELS: Final = 50_000_000
_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF")


def decoded(data: bytes, *, timeout_s: float = 30) -> Pixels:
    """RGB uint8 [H, W, 3] of a JPEG, PNG, WebP or GIF. Raises `NotVideo`, `TooLarge`, `DeadlineExceeded`."""
    try:
        with Decoder("sample", {"data": data}, Limits()) as decoder:
            return cast("Pixels", decoder.result(timeout_s))
    except DecoderDied as error:
        raise _no_picture() from error


def job(details: Mapping[str, Any], limits: Limits, emit: Emit) -> Pixels:
    """The child's side."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(details["data"]), formats=_FORMATS) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise TooLarge(
                    f"The picture has {picture.width}x{picture.height} pixels.", advice="Send a smaller one."
                )
            return np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        if isinstance(error, TooLarge):
            raise
        raise _no_picture() from error


def _no_picture() -> NotVideo:
    return NotVideo("That is not a picture that can be read.", advice="Send a JPEG, PNG or WebP.")
