"""The media engine: legs, packets and clocks. Knows nothing of SIP, sessions or JSON."""
