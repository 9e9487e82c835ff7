"""What no schema can say: which values of one request depend on others.

An Idempotency-Key that was used with another body, and a connection that nobody has set up, are rightly
refused with 400 although the request is valid by itself, and so are two tools of one name. So every key is made
fresh, every connection is the one that exists, and of tools each name's first is kept. Loaded by schemathesis
(SCHEMATHESIS_HOOKS).
"""

from __future__ import annotations

import itertools
from typing import Any

import schemathesis

CONNECTION_ID = "pcon_fuzz"
_numbers = itertools.count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    meta = getattr(case, "meta", None)
    valid = meta is None or meta.generation.mode.is_positive
    if valid and case.headers and "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = f"fuzz-{next(_numbers)}"
    routing = case.body.get("routing") if isinstance(case.body, dict) else None
    if valid and isinstance(routing, dict) and routing.get("connection_id") is not None:
        routing["connection_id"] = CONNECTION_ID
    agent = case.body.get("ai_agent") if isinstance(case.body, dict) else None
    if valid and isinstance(agent, dict) and isinstance(agent.get("tools"), list):
        agent["tools"] = list({_called(tool): tool for tool in reversed(agent["tools"])}.values())


def _called(tool: dict[str, Any]) -> Any:
    kind = tool.get("type", "function")
    return tool.get("name") if kind == "function" else kind
