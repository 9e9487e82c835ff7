"""gateway/sessions/access.py: what no other test shows; who may is in test_api.py."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gateway.sessions.access import UNLIMITED
from tests.support.session_service import service


def test_without_a_limit_much_is_left(tmp_path: Path) -> None:
    async def main() -> None:
        async with service(f"sqlite:///{tmp_path}/s.db") as kit:
            response = await kit.get("/v1/sessions/x")
            assert response.headers["X-API-Credits-Remaining"] == str(UNLIMITED)

    asyncio.run(main())


def test_two_keys_the_bearer_counts(tmp_path: Path) -> None:
    async def main() -> None:
        async with service(f"sqlite:///{tmp_path}/s.db") as kit:
            both = {"X-API-Key": "wrong"}
            assert (await kit.http.get("/v1/sessions/x", headers=both)).status_code == 404

    asyncio.run(main())
