"""The command line. Each command is a function; results go to stdout (or `--output`), all messages to stderr.

Exit codes: 0 success, 1 some inputs failed (the others were processed) or `doctor` found an error, 2 wrong usage.
"""

from multimodal_ser.cli.parser import build_parser as _parser
from multimodal_ser.cli.parser import main

__all__ = ["main"]
