"""The embedded session service: REST API, stream server, storage."""
