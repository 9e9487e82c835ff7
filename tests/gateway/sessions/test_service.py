"""gateway/sessions/service.py: what HTTP does not show."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import Connection, insert

from gateway.sessions.models import connections
from tests.support.session_service import Kit, service


def connect(connection: Connection, **values: Any) -> None:
    connection.execute(insert(connections).values(organization_id="org_default", **values))


def test_the_order_of_resolution(database_url: str) -> None:
    async def provider(kit: Kit, **routing: Any) -> tuple[Any, Any]:
        made = await kit.create(routing=routing)
        return made["provider"], made["phone_number"]

    async def main() -> None:
        async with service(database_url) as kit:
            number = "+15550000001"
            assert await provider(kit, phone_number=number) == (None, number)
            add = kit.database.call
            add(connect, id="pcon_t", provider="twilio", phone_number="+15550000002", is_default=False)
            add(connect, id="pcon_x", provider="telnyx", phone_number=number, is_default=False)
            assert await provider(kit, connection_id="pcon_t", type="sip", phone_number=number) == (
                "twilio", number,
            )  # fmt: skip
            assert await provider(kit, connection_id="pcon_t") == ("twilio", "+15550000002")
            assert await provider(kit, type="sip", phone_number=number) == ("sip", number)
            assert await provider(kit, phone_number=number) == ("telnyx", number)
            assert (await kit.create())["provider"] is None
            add(connect, id="pcon_d", provider="sip", phone_number="+15550000009", is_default=True)
            assert await provider(kit, phone_number="+15550000003") == ("sip", "+15550000003")
            made = await kit.create()
            assert (made["provider"], made["phone_number"]) == ("sip", "+15550000009")
            stranger = {"Authorization": f"Bearer {kit.add_key('org_b')}"}
            body = {"mode": "help_chat_voice", "routing": {"connection_id": "pcon_t"}}
            assert (await kit.post("/v1/sessions", body, **stranger)).status_code == 400

    asyncio.run(main())
