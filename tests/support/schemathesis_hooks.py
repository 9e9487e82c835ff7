"""What no schema can say: which values of one request depend on others.

An Idempotency-Key that was used with another body, and a connection that nobody has set up, are rightly
refused with 400 although the request is valid by itself. So every key is made fresh, and every connection
is the one that exists. Loaded by schemathesis (SCHEMATHESIS_HOOKS).
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
