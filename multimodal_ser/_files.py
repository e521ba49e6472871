"""Files and folders that commands read and write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from multimodal_ser.errors import InputError


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        InputError: no such file, no YAML, or no mapping.
    """
    import yaml

    try:
        fields = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            str(path), expected="a YAML file", got=error.strerror or "an error", remedy="check the path"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            str(path), expected="YAML", got=" ".join(str(error).split())[:200], remedy="correct it"
        ) from error
    if not isinstance(fields, dict):
        raise InputError(
            str(path),
            expected="a mapping of options",
            got=type(fields).__name__,
            remedy="write lines such as `bf16: true`",
        )
    return fields


@contextmanager
def no_empty_folder(path: str | os.PathLike) -> Iterator[None]:
    """Take away what was made of a folder where something goes wrong before anything is in it.

    Args:
        path: of the folder; it need not be there.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser._files import no_empty_folder
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
