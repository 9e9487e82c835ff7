"""The engines, each in modules of its own; `registry.py` builds those that the configuration names."""
