"""Floor 4: what a file says of how it is called, and a file as something to call."""

from fxonnx.saved.interface import Interface, interface_of
from fxonnx.saved.model import Loaded, load, loads

__all__ = ["Interface", "Loaded", "interface_of", "load", "loads"]
