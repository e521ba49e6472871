"""Entry point of `python -m multimodal_ser.cli`."""

import sys

from multimodal_ser.cli import main

if __name__ == "__main__":
    sys.exit(main())
