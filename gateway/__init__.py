"""glotgate: the gateway that puts live translation into any on-prem phone system."""

__version__ = "0.1.0"
