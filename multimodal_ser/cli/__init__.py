"""The command line: one function a command. Results go to stdout (or `--output`), everything else to stderr.

Exit codes: 0 all went well, 1 some input failed (the others were done) or `doctor` found something broken, 2 wrong use.
"""

from multimodal_ser.cli.parser import build_parser as _parser
from multimodal_ser.cli.parser import main

__all__ = ["main"]
