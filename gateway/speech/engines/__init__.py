"""Speech engines, each declaring which languages it can do."""
