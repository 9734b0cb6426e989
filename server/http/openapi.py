"""The HTTP API as an OpenAPI 3.1 document, made from the route table and its types."""

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

from game.poker.variants import VARIANTS
from protocol.errors import ErrorCode
from protocol.schema import Document, schemas, with_values
from protocol.values import BombPot, LooseSettings, SettingsPatch
from protocol.views import RoomSnapshot
from server.http.answers import NOT_ON_HTTP
from server.http.bodies import FORM, Body, NoBody, RoomBody, camel
from server.http.calls import IDEMPOTENCY_KEY, Route
from server.http.problems import PLAIN, PROBLEM_TYPE, STATUS, Problem

JSON = "application/json"

_REF = "#/components/schemas/"
_ID = {"type": "string", "minLength": 1, "maxLength": 64}
_NUMBER = {"type": "integer", "minimum": 1}
_CAMEL = "Http"
"""Prefix of the camelCase form of a type that the WebSocket sends in snake_case."""


def openapi(routes: Iterable[Route]) -> Document:
    """Describe the API: every route with what it takes, answers and refuses with."""
    listed = list(routes)
    paths: dict[str, Document] = {}
    for route in listed:
        paths.setdefault(in_camel(route.path), {})[route.method.lower()] = _operation(route)
    document: Document = {
        "openapi": "3.1.0",
        "info": {
            "title": "Cardroom",
            "version": "1",
            "description": "Every command that the WebSocket takes, over HTTP.",
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(listed),
            "securitySchemes": {
                "accessToken": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "pusherSignature": {"type": "apiKey", "in": "query", "name": "auth_signature"},
            },
        },
    }
    return listing_variants(document)


def listing_variants(document: Document) -> Document:
    """Return a document in which the wire's variants are those that the rules know."""
    listed: Document = with_values(document, "Variant", tuple(VARIANTS))
    return listed


def in_camel(path: str) -> str:
    """Write a route's path with its parameters in camelCase."""
    return re.sub(r"{(\w+)}", lambda match: f"{{{camel(match[1])}}}", path)


def _operation(route: Route) -> Document:
    document: Document = {
        "operationId": route.name,
        "tags": [route.tag],
        "summary": route.summary,
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_headers(route)],
        "responses": {str(route.status): _success(route), **_problems(route)},
        "security": _security(route),
    }
    if route.has_body:
        document["requestBody"] = {
            "required": any(field.required for field in msgspec.structs.fields(route.takes)),
            "content": {
                kind: {"schema": {"$ref": _REF + route.takes.__name__}}
                for kind in ((JSON, FORM) if route.form else (JSON,))
            },
        }
    return document


def _security(route: Route) -> list[Document]:
    match route.access:
        case "anybody":
            return []
        case "signed":
            return [{"pusherSignature": []}]
        case _:
            return [{"accessToken": []}]


def _path_parameters(route: Route) -> list[Document]:
    return [
        {
            "name": camel(name),
            "in": "path",
            "required": True,
            "schema": _NUMBER if name == "number" else _ID,
        }
        for name in route.parameters
    ]


def _query_parameters(route: Route) -> list[Document]:
    if route.method != "GET" or route.takes is NoBody:
        return []
    schema = _body_schemas([route.takes])[route.takes.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": kind}
        for name, kind in schema["properties"].items()
    ]


def _headers(route: Route) -> list[Document]:
    if route.method == "GET" or route.access == "signed":
        return []
    return [
        {
            "name": IDEMPOTENCY_KEY,
            "in": "header",
            "required": False,
            "description": "Makes the command happen at most once.",
            "schema": {"type": "string", "format": "uuid"},
        }
    ]


def _success(route: Route) -> Document:
    if isinstance(route.answers, str):
        return {"description": route.summary, "content": {route.answers: {}}}
    return {
        "description": route.summary,
        "content": {
            JSON: {
                "schema": {
                    "allOf": [
                        {
                            "type": "object",
                            "properties": {"success": {"const": True}},
                            "required": ["success"],
                        },
                        {"$ref": _REF + _answer_name(route.answers)},
                    ]
                }
            }
        },
    }


def _problems(route: Route) -> Document:
    """List the codes that can come back, by status."""
    if route.access == "anybody":
        codes = [ErrorCode.BAD_REQUEST, ErrorCode.INTERNAL]
    else:
        codes = list(ErrorCode)
    by_status: dict[str, list[str]] = {}
    for code in codes:
        by_status.setdefault(str(STATUS[code]), []).append(code.value)
    return {
        status: {
            "description": ", ".join(f"`{code}`" for code in found),
            "content": {PLAIN: {}}
            if route.plain_errors
            else {PROBLEM_TYPE: {"schema": {"$ref": _REF + "Problem"}}},
        }
        for status, found in sorted(by_status.items())
    }


def _schemas(routes: list[Route]) -> dict[str, Document]:
    answers = {route.answers for route in routes if not isinstance(route.answers, str)}
    ordered = sorted(answers, key=lambda kind: kind.__name__)
    in_snake = [kind for kind in ordered if _keeps_snake(kind)]
    renamed = [kind for kind in ordered if not _keeps_snake(kind)]
    bodies = [route.takes for route in routes if route.has_body]
    return {
        **schemas([Problem, *in_snake]),
        **_body_schemas(bodies),
        **{_CAMEL + name: _renamed(schema) for name, schema in schemas(renamed).items()},
    }


def _body_schemas(bodies: list[type[Body]]) -> dict[str, Document]:
    """Return the schemas of bodies; settings stand in them in camelCase, flat or nested."""
    found = schemas(list(bodies))
    for name in (LooseSettings.__name__, SettingsPatch.__name__):
        if name in found:
            # What is within a setting stands in snake_case in a hydrated room, under its own name.
            found[name] = _refs_renamed(_in_camel_names(found[name]), only=BombPot.__name__)
    if BombPot.__name__ in found:
        found[_CAMEL + BombPot.__name__] = _in_camel_names(found.pop(BombPot.__name__))
    loose = found.pop(LooseSettings.__name__, None)
    if loose is not None and RoomBody.__name__ in found:
        properties = found[RoomBody.__name__]["properties"]
        del properties["loose"]
        properties.update(loose["properties"])
    return found


def _keeps_snake(kind: type[Struct]) -> bool:
    return issubclass(kind, RoomSnapshot)


def _answer_name(kind: type[Struct]) -> str:
    return kind.__name__ if _keeps_snake(kind) else _CAMEL + kind.__name__


def _renamed(schema: Document) -> Document:
    """Turn a reply's schema into that of its HTTP form."""
    shown: Document = _refs_renamed(_in_camel_names(schema))
    tag = "type" if "enum" in shown.get("properties", {}).get("type", {}) else None
    for name in (*NOT_ON_HTTP, tag):
        shown.get("properties", {}).pop(name, None)
        if name in shown.get("required", []):
            shown["required"].remove(name)
    return shown


def _in_camel_names(schema: Document) -> Document:
    shown = dict(schema)
    if "properties" in schema:
        shown["properties"] = {camel(name): kind for name, kind in schema["properties"].items()}
        shown["required"] = [camel(name) for name in schema.get("required", [])]
    return shown


def _refs_renamed(value: Any, only: str = "") -> Any:  # any part of a document
    """Refer to the camelCase form of types: of all, or of `only` one."""
    if isinstance(value, dict):
        return {
            key: item.replace(_REF + only, _REF + _CAMEL + only)
            if key == "$ref" and isinstance(item, str)
            else _refs_renamed(item, only)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_refs_renamed(item, only) for item in value]
    return value
