"""openapi.json as a page: what `GET /docs` shows. Pure: a document in, HTML out, no scripts, no foreign addresses."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

_REST: Final = "Pages and state"
_LIMITS: Final = {
    "minimum": "from {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "to {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "pattern": "pattern {}",
    "format": "{}",
}

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a type's name; a link where it is a schema's."""

    text: str
    link: bool = False


@dataclass(frozen=True, slots=True)
class Member:
    """A parameter, or a member of a schema."""

    name: str
    type: list[Part]
    meaning: str
    required: bool


@dataclass(frozen=True, slots=True)
class Answer:
    status: str
    meaning: str
    type: list[Part]
    media: str


@dataclass(frozen=True, slots=True)
class Operation:
    id: str
    method: str
    path: str
    summary: str
    who: str
    parameters: list[Member]
    body: list[Part]
    body_required: bool
    answers: list[Answer]
    example: str


@dataclass(slots=True)
class Group:
    name: str
    operations: list[Operation] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class DocumentedSchema:
    name: str
    meaning: str
    type: list[Part]
    fields: list[Member]


def render(document: Json) -> str:
    """The page of this OpenAPI 3.1 document."""
    template = files("worker.web").joinpath("api_docs.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    schemas = document["components"]["schemas"]
    return environment.from_string(template).render(
        title=document["info"]["title"],
        version=document["info"]["version"],
        groups=groups_of(document),
        schemas=[_schema(name, schemas[name]) for name in sorted(schemas)],
    )


def groups_of(document: Json) -> list[Group]:
    """The operations by the first words of their paths; those outside `/api` and `/v1` last."""
    groups: dict[str, Group] = {}
    for path, methods in document["paths"].items():
        words = path.split("/")
        name = "/".join(words[:3]) if words[1] == "api" else f"/{words[1]}" if words[1] == "v1" else _REST
        for method, operation in methods.items():
            item = _operation(method.upper(), path, operation, document["components"]["schemas"])
            groups.setdefault(name, Group(name)).operations.append(item)
    return sorted(groups.values(), key=lambda group: group.name == _REST)


def _operation(method: str, path: str, operation: Json, schemas: Json) -> Operation:
    body = operation.get("requestBody", {})
    shape = body.get("content", {}).get("application/json", {}).get("schema")
    return Operation(
        id=operation["operationId"] or "root",
        method=method,
        path=path,
        summary=operation["summary"].rstrip("."),
        who=operation.get("description", "Open to anyone." if "security" not in operation else ""),
        parameters=[
            Member(
                f"{each['name']} ({each['in']})" if each["in"] != "query" else each["name"],
                type_of(each["schema"]),
                each.get("description") or _meaning(each["schema"]),
                each.get("required", False),
            )
            for each in operation.get("parameters", ())
        ],
        body=type_of(shape) if shape else [],
        body_required=body.get("required", False),
        answers=[_answer(status, answer) for status, answer in operation["responses"].items()],
        example=_example(method, path, operation, shape, schemas),
    )


def _answer(status: str, answer: Json) -> Answer:
    contents: Json = answer.get("content", {})
    media = next(iter(contents), "")
    content: Json = contents.get(media, {})
    shape = content.get("schema")
    meaning = "" if answer["description"] == "See the schema" else answer["description"]
    name = "any other" if status == "default" else status
    return Answer(name, meaning, type_of(shape) if shape else [], "" if media == "application/json" else media)


def _schema(name: str, schema: Json) -> DocumentedSchema:
    required = set(schema.get("required", ()))
    members = [
        Member(member, type_of(shape), _meaning(shape), member in required)
        for member, shape in schema.get("properties", {}).items()
    ]
    return DocumentedSchema(name, schema.get("description", ""), type_of(schema), members)


def type_of(schema: Json) -> list[Part]:
    """The type in words: `array of Model`, `string or null`, `"held" or "failed"`."""
    if "$ref" in schema:
        return [Part(schema["$ref"].rpartition("/")[2], link=True)]
    if "const" in schema:
        return [Part(json.dumps(schema["const"]))]
    if "enum" in schema:
        return [Part(" or ".join(json.dumps(value) for value in schema["enum"]))]
    for word, between in (("anyOf", " or "), ("oneOf", " or "), ("allOf", " and ")):
        if word in schema:
            return _joined([type_of(each) for each in schema[word]], between)
    kind = schema.get("type", "anything")
    if isinstance(kind, list):
        return [Part(" or ".join(kind))]
    if kind == "array" and "items" in schema:
        return [Part("array of "), *type_of(schema["items"])]
    values = schema.get("additionalProperties")
    if kind == "object" and isinstance(values, Mapping) and "properties" not in schema:
        return [Part("object of "), *type_of(values)]
    return [Part(kind)]


def _joined(types: list[list[Part]], between: str) -> list[Part]:
    parts: list[Part] = []
    for each in types:
        parts += [Part(between), *each] if parts else each
    return parts


def _meaning(schema: Json) -> str:
    texts = [schema["description"]] if "description" in schema else []
    texts += dict.fromkeys(_limits(schema))
    if schema.get("default") is not None:
        texts.append(f"default {json.dumps(schema['default'])}")
    return "; ".join(texts)


def _limits(schema: Json) -> Iterator[str]:
    for each in (schema, *schema.get("anyOf", ())):
        yield from (text.format(each[name]) for name, text in _LIMITS.items() if name in each)


def _example(method: str, path: str, operation: Json, shape: Json | None, schemas: Json) -> str:
    lines = [
        f"curl{f' -X {method}' if method not in ('GET', 'POST') or (method == 'POST' and not shape) else ''}"
        f' "$URL{path}"'
    ]
    if operation.get("security"):
        lines.append('-H "Authorization: Bearer $TOKEN"')
    if shape is not None:
        content = json.dumps(_sample(shape, schemas), ensure_ascii=False)
        lines += ["-H 'Content-Type: application/json'", f"-d '{content}'"]
    return " \\\n  ".join(lines)


def _sample(schema: Json, schemas: Json) -> Any:
    """The least that a body has to hold."""
    if "$ref" in schema:
        return _sample(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return _sample(schema[word][0], schemas)
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {name: _sample(schema["properties"][name], schemas) for name in schema.get("required", ())}
    return {"string": "…", "integer": 1, "number": 1, "boolean": True, "array": []}.get(str(kind))
