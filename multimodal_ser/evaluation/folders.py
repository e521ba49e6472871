"""The folders that commands write into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def no_empty_folder(path: str | os.PathLike) -> Iterator[None]:
    """Take away what was made of a folder where something goes wrong before anything is in it.

    Args:
        path: of the folder; it need not be there.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser.evaluation.folders import no_empty_folder
        >>> folder = Path(tempfile.mkdtemp(), "new", "report")
        >>> try:
        ...     with no_empty_folder(folder):
        ...         folder.mkdir(parents=True)
        ...         raise ValueError("wrong")
        ... except ValueError:
        ...     print(folder.parent.exists())
        False
    """
    folder = Path(os.path.abspath(path))
    new = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for below, _, _ in os.walk(folder, topdown=False) if new else ():
                os.rmdir(below)
            for each in new:
                if each.exists():
                    each.rmdir()
        raise
