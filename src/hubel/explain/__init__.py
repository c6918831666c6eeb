"""What a network saw: one function a method, one `Attribution` back. The network is never changed."""

from hubel.core.types import Attribution
from hubel.explain.question import Unit

__all__ = ["Attribution", "Unit"]
