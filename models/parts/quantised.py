"""A language model's layers in 8 or 4 bits, by bitsandbytes where that is installed.

Eight bits: LLM.int8() (Dettmers et al. 2022), with what stands out kept in 16. Four: NormalFloat (Dettmers et al. 2023,
QLoRA, section 3), with the scales themselves in 8. Only the large matrices of the language model's layers are so kept;
words, the eye, what joins them, adapters and the head stay as they are.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from ingest.errors import Invalid
from models.room import ran_out
from models.weights import Few, Place

_OUTLIER = 6.0
"""Activations above it are multiplied in 16 bits (LLM.int8(), section 3.2)."""

_PACKED = (32, 64)
"""Rows and columns of which a matrix has to be made up for its layout for processors with AVX-512."""

EXTRA = "In Hindsight's folder: pip install -c constraints.txt -e '.[quantised]'"


class Quantised(nn.Linear):
    """A layer that, when its weight is loaded, keeps it in few bits and no longer as a parameter."""

    bits: Few

    def keep(self, weight: Tensor, place: Place) -> int:
        """`weight` [out, in], wherever it lies, into few bits on the device; the bytes that it takes there."""
        weight = weight.to(torch.float16 if self.bits == "int8" else place.dtype)
        try:
            layer = _int8(weight, place.device) if self.bits == "int8" else _nf4(weight, place)
        except (RuntimeError, NotImplementedError, AttributeError) as error:
            if ran_out(error):
                raise
            raise Invalid(
                f"bitsandbytes cannot quantise on {place.device} ({str(error).partition(chr(10))[0]}).",
                advice="Choose auto, bfloat16 or float32.",
            ) from error
        del self.weight
        self._product = layer.forward  # its forward, not itself: it has no part in names and moves
        return int(layer.weight.nbytes)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # the base class names it so
        out: Tensor = self._product(input)
        return out if self.bias is None else out + self.bias


def quantise(layers: nn.Module, bits: Few | None) -> None:
    """Have the linear layers in `layers` keep, when they are loaded, their weights in so many bits; None: as they are.

    Raises `Invalid` where bitsandbytes is not installed.
    """
    if bits is None:
        return
    if find_spec("bitsandbytes") is None:
        raise Invalid(f"{bits} needs bitsandbytes, which is not installed.", advice=f"{EXTRA}, or choose auto.")
    for layer in layers.children():
        if not isinstance(layer, nn.Linear):
            quantise(layer, bits)
            continue
        kind = type(layer)  # as torch's own parametrisations do it: a class that is both
        layer.__class__ = Quantised if kind is nn.Linear else type(f"Quantised{kind.__name__}", (kind, Quantised), {})
        layer.bits = bits  # type: ignore[assignment]  # it is a Quantised now


def _int8(weight: Tensor, device: str) -> Any:
    import bitsandbytes as bnb

    # It warns of every product whose input is not float16, which none is here: a line per matrix and token, for ever.
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    out, inward = weight.shape
    options = {"bias": False, "has_fp16_weights": False, "threshold": _OUTLIER, "device": "meta"}
    layer = bnb.nn.Linear8bitLt(inward, out, **options)
    layer.weight = bnb.nn.Int8Params(weight, requires_grad=False, has_fp16_weights=False).to(device)
    return layer.eval()


def _nf4(weight: Tensor, place: Place) -> Any:
    import bitsandbytes as bnb

    out, inward = weight.shape
    options = {"quant_type": "nf4", "compress_statistics": True}
    layer = bnb.nn.Linear4bit(inward, out, bias=False, compute_dtype=place.dtype, device="meta", **options)
    if out % _PACKED[0] or inward % _PACKED[1]:
        layer.support_avx512bf16_for_cpu = False
    layer.weight = bnb.nn.Params4bit(weight, requires_grad=False, module=layer, **options).to(place.device)
    return layer.eval()
