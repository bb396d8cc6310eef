"""The description of the HTTP interface, with an example of every body and a problem for every error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from api.examples import EXAMPLES, PROBLEM
from api.problems import MEDIA_TYPE

_METHODS = {"get", "post", "put", "patch", "delete"}


def complete(app: FastAPI) -> None:
    """Wraps the application's own description."""
    generated = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = generated()
            for operation in _operations(schema):
                _with_examples(operation)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # FastAPI documents this as the way to extend it


def _operations(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in schema["paths"].values():
        yield from (operation for method, operation in path.items() if method in _METHODS)


def _with_examples(operation: dict[str, Any]) -> None:
    bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
    for body in bodies:
        for content in body.get("content", {}).values():
            example = _example(content.get("schema", {}))
            if example is not None:
                content.setdefault("example", example)
    operation["responses"].pop("422", None)
    operation["responses"]["default"] = {
        "description": "What went wrong and what to do about it (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": PROBLEM}},
    }


def _example(schema: dict[str, Any]) -> Any:
    if schema.get("type") == "array":
        item = _example(schema["items"])
        return None if item is None else [item]
    return EXAMPLES.get(schema.get("$ref", "").rpartition("/")[2])
