"""The SIP user agent: dialogs, SDP text and transports. No audio, no sessions."""
