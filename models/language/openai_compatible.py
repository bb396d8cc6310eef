"""Any server that speaks OpenAI's chat completions: vLLM, llama.cpp, Ollama, hosted ones."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Protocol

from ingest.errors import Poison, SourceUnavailable
from ingest.questions import Evidence, Exhibit, Picture
from ingest.records import MICROSECONDS, Span
from models.language.prompt import Prompt, build_prompt
from models.parts.grounding import when, within


class StreamLines(Protocol):
    """Opens a request and yields the lines of its answer as they come (`Guard.stream_lines`)."""

    def __call__(
        self,
        method: str,
        url: str,
        *,
        json: object | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 60,
        granted: bool = False,
    ) -> Iterator[str]: ...


class OpenAiSystem:
    """A `VideoSystem` over `<url>/chat/completions`; `url` ends in /v1 as a rule.

    `pictures` is the most that go with a question: 0 for a model that cannot see.
    """

    def __init__(
        self, url: str, model: str, lines: StreamLines, *, key: str = "", pictures: int = 8, timeout_s: float = 120
    ) -> None:
        self.id = f"openai:{model}"
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._model = model
        self._lines = lines
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._pictures = pictures
        self._timeout_s = timeout_s

    def answer(self, question: str, evidence: Evidence) -> Iterator[str]:
        prompt = build_prompt(question, evidence, most_pictures=self._pictures)
        return self._said(_messages(prompt))

    def ground(self, event: str, evidence: Evidence) -> list[Span]:
        """Start and end within each exhibit, asked with pictures only; a model that cannot see is not asked."""
        seen = [exhibit for exhibit in evidence.exhibits if exhibit.pictures] if self._pictures else []
        return [span for exhibit in seen if (span := self._ground(event, exhibit))]

    def _ground(self, event: str, exhibit: Exhibit) -> Span | None:
        pictures = exhibit.pictures
        shown = pictures[:: -(-len(pictures) // self._pictures)]
        content: list[dict[str, object]] = []
        for picture in shown:
            second = (picture.moment - shown[0].moment) / MICROSECONDS
            content += [{"type": "text", "text": f"second {second:g}"}, _image(picture)]
        content.append({"type": "text", "text": when(event)})
        said = "".join(self._said([{"role": "user", "content": content}]))
        return within(said, shown[0].moment, exhibit)

    def _said(self, messages: list[dict[str, object]]) -> Iterator[str]:
        order = {"model": self._model, "messages": messages, "stream": True, "temperature": 0}
        lines = self._lines(
            "POST", self._url, json=order, headers=self._headers, timeout_s=self._timeout_s, granted=True
        )
        return _pieces(lines)


def _image(picture: Picture) -> dict[str, object]:
    data = base64.b64encode(picture.jpeg).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}


def _messages(prompt: Prompt) -> list[dict[str, object]]:
    content: list[dict[str, object]] = [{"type": "text", "text": prompt.facts}]
    for one in prompt.shown:
        content += [{"type": "text", "text": one.caption}, _image(one.picture)]
    content.append({"type": "text", "text": prompt.question})
    if not prompt.shown:
        return [{"role": "system", "content": prompt.rules}, _plain(prompt)]
    return [{"role": "system", "content": prompt.rules}, {"role": "user", "content": content}]


def _plain(prompt: Prompt) -> dict[str, object]:
    """Servers of text-only models take a string, not a list of parts."""
    return {"role": "user", "content": f"{prompt.facts}\n\n{prompt.question}"}


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    """The text in a stream of server-sent events. An answer that breaks off is an error, not a short answer."""
    finished = False
    for line in lines:
        if not line.startswith("data:"):
            continue
        data = line.removeprefix("data:").strip()
        if data == "[DONE]":
            return
        text, last = _piece(data)
        finished = finished or last
        if text:
            yield text
    if not finished:
        raise SourceUnavailable("The language model's answer broke off.", advice="Ask again.")


def _piece(data: str) -> tuple[str, bool]:
    """The text of one event, and whether the model says that it is done."""
    try:
        event = json.loads(data)
        if "error" in event:
            detail = event["error"]
            raise SourceUnavailable(
                f"The language model failed: {detail.get('message', detail) if isinstance(detail, dict) else detail}.",
                advice="Look at its server's log.",
            )
        choices = event["choices"]
        if not choices:
            return "", False
        return choices[0].get("delta", {}).get("content") or "", choices[0].get("finish_reason") is not None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Poison(
            "The language model's server does not answer as OpenAI's does.",
            advice="Check that the address ends in /v1 and belongs to a chat completions server.",
        ) from error
