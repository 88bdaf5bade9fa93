"""Tools that are HTTP requests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from pipit.core.tool import Declaration
from pipit.fetch import FetchError, fetch
from pipit.tools import Tool, ToolError
from pipit.tools.arguments import plain
from pipit.tools.settings import SECRET, Http, fill, placeholders


def http_tool(settings: Http) -> Tool:
    """Return the tool that sends this request."""

    async def run(arguments: Mapping[str, Any]) -> str:
        return await _request(settings, arguments)

    parameters = settings.parameters or {"type": "object", "properties": {}}
    return Tool(Declaration(settings.name, settings.description, parameters), run)


async def _request(settings: Http, arguments: Mapping[str, Any]) -> str:
    secret = settings.secret.reveal() if settings.secret else ""
    texts = {name: _text(value) for name, value in arguments.items()}
    missing = (placeholders(settings.url) | placeholders(settings.headers) | placeholders(settings.body)) - {SECRET} - set(texts)
    if missing:
        raise ToolError(f"{', '.join(sorted(missing))} is missing")
    in_url = {name: quote(value, safe="") for name, value in (texts | {SECRET: secret}).items()}
    headers = {name: fill(str(value), texts | {SECRET: secret}) for name, value in settings.headers.items()}
    body = b""
    if settings.body or settings.method not in ("GET", "DELETE"):
        body = json.dumps(_filled(settings.body, arguments) if settings.body else dict(arguments)).encode()
        headers = {"Content-Type": "application/json", **headers}
    address = fill(settings.url, in_url)
    if _leaves(settings.url, address):
        raise ToolError("an argument may not be . or ..")
    try:
        answer = await fetch(
            address,
            method=settings.method,
            headers=headers,
            body=body,
            timeout_s=settings.timeout_s,
            limit_bytes=settings.limit_bytes,
        )
    except FetchError as error:
        raise ToolError(str(error)) from None
    words = answer.body.decode("utf-8", "replace")
    if secret:
        words = words.replace(secret, "…")
    if answer.status >= 400:
        raise ToolError(f"{urlsplit(settings.url).hostname} answered HTTP {answer.status}: {words[:300]}")
    try:
        return json.dumps({"status": answer.status, "body": plain(json.loads(words))}, ensure_ascii=False)
    except (ValueError, RecursionError):  # not JSON
        return json.dumps({"status": answer.status, "body": words}, ensure_ascii=False)


def _leaves(template: str, address: str) -> bool:
    """Tell whether arguments have made a step of the path that means another folder (RFC 3986, 5.2.4)."""
    steps = zip(urlsplit(template).path.split("/"), urlsplit(address).path.split("/"), strict=True)
    return any(filled in (".", "..") and filled != written for written, filled in steps)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _filled(template: Any, arguments: Mapping[str, Any]) -> Any:
    """Fill a JSON template: a text that is nothing but "{NAME}" becomes the argument itself, a number for example."""
    if isinstance(template, str):
        name = template[1:-1]
        if template == f"{{{name}}}" and name in arguments:
            return arguments[name]
        return fill(template, {key: _text(value) for key, value in arguments.items()})
    if isinstance(template, Mapping):
        return {key: _filled(value, arguments) for key, value in template.items()}
    if isinstance(template, list):
        return [_filled(value, arguments) for value in template]
    return template
