"""openapi.json, made of the routes and of the models that validate them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from worker.web.bodies import ProblemBody
from worker.web.openai.bodies import OpenAIError
from worker.web.openai.errors import PREFIX
from worker.web.routing import Route

_REF = "#/components/schemas/{model}"


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "LLM Refresh", "version": version("llm-refresh")},
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _schemas(routes: Sequence[Route]) -> dict[str, Any]:
    models: list[tuple[type[BaseModel], Any]] = [(ProblemBody, "serialization"), (OpenAIError, "serialization")]
    for route in routes:
        if route.body is not None:
            models.append((route.body, "validation"))
        models.extend((model, "serialization") for model in route.returns.values() if model is not None)
    _, schema = models_json_schema(list(dict.fromkeys(models)), ref_template=_REF)
    definitions: dict[str, Any] = schema.get("$defs", {})
    return definitions


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path}").strip("_"),
        "responses": {str(status): _response(route, status, model) for status, model in route.returns.items()},
    }
    operation["responses"]["default"] = _wrong(route)
    parameters = [_path_parameter(name) for name in re.findall(r"{(\w+)}", route.path)] + _query_parameters(route)
    parameters += [_header_parameter(name, text) for name, text in route.headers.items()]
    if parameters:
        operation["parameters"] = parameters
    if route.body is not None:
        required = any(field.is_required() for field in route.body.model_fields.values())
        operation["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": _reference(route.body)}},
        }
    if route.roles is not None:
        operation["security"] = [{"token": []}]
        operation["description"] = f"Roles: {', '.join(sorted(route.roles))}."
    return operation


def _wrong(route: Route) -> dict[str, Any]:
    if route.path.startswith(PREFIX):
        content: dict[str, Any] = {"application/json": {"schema": _reference(OpenAIError)}}
        return {"description": "What was wrong, in OpenAI's form", "content": content}
    content = {"application/problem+json": {"schema": _reference(ProblemBody)}}
    return {"description": "What was wrong, as a problem document (RFC 9457)", "content": content}


def _response(route: Route, status: int, model: type[BaseModel] | None) -> dict[str, Any]:
    described: dict[str, Any] = {"description": {304: "Not modified", 204: "Nothing"}.get(status, "See the schema")}
    if model is not None:
        media = "application/problem+json" if status in (404, 502) else route.media_type
        described["content"] = {media: {"schema": _reference(model)}}
    elif status == 200:
        described["content"] = {route.media_type: {}}
    return described


def _reference(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


def _path_parameter(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _header_parameter(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": {"type": "string"}}


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    schema = route.query.model_json_schema()
    required = set(schema.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": rule}
        for name, rule in schema.get("properties", {}).items()
    ]
