"""Any image-text-to-text model that transformers can load, run in this process."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ingest.errors import Invalid, Poison
from ingest.questions import Evidence
from models.language.prompt import Prompt, build_prompt
from models.room import down_the_ladder, ran_out
from models.systems.opening import FEW

_NOT_LANGUAGE = r".*(vis|image|connector|projector|merger|resampler|head)"
"""How modules are called that are the eye, what joins it, or the head: they keep their numbers."""


class TransformersSystem:
    """A `VideoSystem` over a checkpoint with a chat template; `checkpoint` is a folder or a name on the model hub."""

    def __init__(
        self, checkpoint: str | Path, *, device: str = "cpu", pictures: int = 8, longest: int = 400, dtype: str = "auto"
    ) -> None:
        from transformers import AutoModelForImageTextToText, AutoProcessor

        self.id = f"transformers:{checkpoint}"
        numbers = _in_few_bits(dtype, device) if dtype in FEW else {"dtype": dtype}
        try:
            self._processor = AutoProcessor.from_pretrained(checkpoint)
            model = AutoModelForImageTextToText.from_pretrained(checkpoint, **numbers)
            self._model = (model if dtype in FEW else model.to(device)).eval()
        except (OSError, ValueError) as error:
            why = str(error).partition(". ")[0].rstrip(".")
            raise Invalid(
                f"{checkpoint} cannot be loaded as an image-text-to-text model: {why}.",
                advice="Give the whole published folder of one, with its processor's files.",
            ) from error
        self._device = device
        self._pictures = pictures
        self._longest = longest
        self._turn = threading.Lock()

    def answer(self, question: str, evidence: Evidence) -> Iterator[str]:
        def tell(step: int) -> Iterator[str]:
            prompt = build_prompt(question, evidence, most_pictures=-(-self._pictures // step))
            yield from self._generate(self._inputs(prompt))

        with self._turn:
            yield from down_the_ladder(tell, self._pictures)

    def _inputs(self, prompt: Prompt) -> Any:
        content: list[dict[str, object]] = [{"type": "text", "text": f"{prompt.rules}\n\n{prompt.facts}\n"}]
        for one in prompt.shown:
            content += [{"type": "text", "text": f"\n{one.caption}: "}, {"type": "image"}]
        content.append({"type": "text", "text": f"\n{prompt.question}"})
        text = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
        pictures = [_opened(one.picture.jpeg) for one in prompt.shown]
        return self._processor(text=text, images=pictures or None, return_tensors="pt").to(
            self._device, dtype=self._model.dtype
        )

    def _generate(self, inputs: Any) -> Iterator[str]:
        """Text as it is generated. Closing the iterator stops the model at its next token."""
        from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

        stop = threading.Event()

        class Stop(StoppingCriteria):  # type: ignore[misc] # transformers ships no types
            def __call__(self, *_: object, **__: object) -> bool:
                return stop.is_set()

        streamer = TextIteratorStreamer(self._processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        failed: list[BaseException] = []
        order = {
            **inputs,
            "max_new_tokens": self._longest,
            "do_sample": False,
            "streamer": streamer,
            "stopping_criteria": StoppingCriteriaList([Stop()]),
        }
        worker = threading.Thread(target=_run, args=(self._model, order, streamer, failed))
        worker.start()
        try:
            yield from (piece for piece in streamer if piece)
        finally:
            stop.set()
            worker.join()
        if failed and ran_out(failed[0]):
            raise failed[0]
        if failed:
            raise Poison(f"The language model failed: {failed[0]}.") from failed[0]


def _in_few_bits(bits: str, device: str) -> dict[str, Any]:
    """What transformers is told to load a language model's layers in 8 or 4 bits, straight on the device."""
    import torch
    from transformers import BitsAndBytesConfig

    for package in ("bitsandbytes", "accelerate"):
        if find_spec(package) is None:
            raise Invalid(
                f"{bits} needs {package}, which is not installed.",
                advice="In Hindsight's folder: pip install -c constraints.txt -e '.[quantised]', or choose auto.",
            )
    half = torch.bfloat16 if device.startswith("cuda") else torch.float32
    how = {"load_in_8bit": True} if bits == "int8" else {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
    whole = BitsAndBytesConfig(**how, bnb_4bit_compute_dtype=half, llm_int8_skip_modules=[_NOT_LANGUAGE])
    return {"quantization_config": whole, "dtype": half, "device_map": {"": device}}


def _run(model: Any, order: dict[str, Any], streamer: Any, failed: list[BaseException]) -> None:
    try:
        model.generate(**order)
    except Exception as error:  # the border of the thread: the waiting side raises it, and must not wait for ever
        failed.append(error)
        streamer.end()


def _opened(jpeg: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(jpeg)).convert("RGB")
