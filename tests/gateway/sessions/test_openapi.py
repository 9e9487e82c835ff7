"""gateway/sessions/openapi.py"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.support.session_service import service


def document(tmp_path: Path) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        async with service(f"sqlite:///{tmp_path}/s.db") as kit:
            made: dict[str, Any] = (await kit.get("/openapi.json")).json()
            return made

    return asyncio.run(main())


def test_every_reference_leads_somewhere(tmp_path: Path) -> None:
    made = document(tmp_path)

    def references(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                yield node["$ref"]
            for inner in node.values():
                yield from references(inner)
        elif isinstance(node, list):
            for inner in node:
                yield from references(inner)

    found = set(references(made))
    assert "#/components/schemas/SessionCreate" in found
    for reference in found:
        assert reference.removeprefix("#/components/schemas/") in made["components"]["schemas"]


def test_every_v1_route_says_how_it_refuses(tmp_path: Path) -> None:
    made = document(tmp_path)
    operations = [
        (path, method, operation)
        for path, methods in made["paths"].items()
        if path.startswith("/v1/")
        for method, operation in methods.items()
    ]
    assert len(operations) >= 3
    for path, method, operation in operations:
        assert {"401", "429"} <= set(operation["responses"]), (path, method)
        assert "422" not in operation["responses"] or path == "/v1/sessions"
        assert operation["security"], (path, method)
