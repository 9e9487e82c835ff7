"""The session stream: its messages, its rules (sans-IO), its client."""
