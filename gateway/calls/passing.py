"""Headers that go through the gateway: what a peer says beside the standard, for the session and back.

Owns which they are: `X-` headers and `Reason` (RFC 3326), as far as the trunk's `pass_headers` names them. What the
contract gives a meaning of its own (`X-Session-…`) is not passed on but understood. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.trunks import Trunk

#: As many, each as long; what a session may be created with (contract §1.1) has room for them.
MAX_HEADERS: Final = 20
MAX_VALUE: Final = 500
_NAME: Final = re.compile(r"x-[a-z0-9-]{1,60}|reason", re.IGNORECASE)
_PRINTABLE: Final = re.compile(r"[ -~]*")
_OURS: Final = "x-session-"


def passed(headers: Mapping[str, str], trunk: Trunk) -> dict[str, str]:
    """Those of a message's headers that go on, names as they came."""
    found = {
        name: value[:MAX_VALUE]
        for name, value in headers.items()
        if _NAME.fullmatch(name)
        and not name.lower().startswith(_OURS)
        and trunk.passes(name)
        and _PRINTABLE.fullmatch(value)
    }
    return dict(list(found.items())[:MAX_HEADERS])
