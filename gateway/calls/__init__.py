"""One state machine per call, and what drives it."""
