"""The description of the interface: whole, with examples that are true to their schemas."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from api import schemas
from api.examples import EXAMPLES, PROBLEM


@pytest.mark.parametrize("name", [name for name in EXAMPLES if hasattr(schemas, name)])
def test_examples_are_true(name: str) -> None:
    TypeAdapter(getattr(schemas, name)).validate_json(json.dumps(EXAMPLES[name]))


def test_the_problem_is_true() -> None:
    schemas.Problem.model_validate(PROBLEM)


def test_every_route_is_described_with_examples(http: httpx.Client) -> None:
    described: dict[str, Any] = http.get("/v1/openapi.json").json()
    binary = {"image/jpeg", "video/mp4"}
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    ]
    assert len(operations) >= 30
    for name, operation in operations:
        assert operation.get("description"), name
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for body in [*bodies, *operation["responses"].values()]:
            for media, content in body.get("content", {}).items():
                assert "example" in content or media in binary, (name, media)
        assert "application/problem+json" in operation["responses"]["default"]["content"], name
        for parameter in operation.get("parameters", ()):
            assert "schema" in parameter, name
