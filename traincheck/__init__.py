"""TrainCheck: catches silent training bugs by checking runs against invariants learned from good ones."""

__version__ = "0.1.0"

__all__ = ["__version__"]
