"""`python -m fxonnx` is the command `fxonnx`."""

import sys

from fxonnx.tools.cli import main

if __name__ == "__main__":
    sys.exit(main())
