"""Reading and writing of files and folders; what is written is under its name whole, or not at all."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from multimodal_ser.errors import InputError

ABANDONED = 60.0
"""s; a temporary file that is older has lost its writer."""


@contextmanager
def writing(
    path: str | Path, *, mode: int = 0o666, flush: bool = True, folder: Path | None = None, prefix: str = "."
) -> Iterator[Path]:
    """The path of a new, empty file, which takes the name `path` at the end, or is removed where something goes wrong.

    It has a random name and never was another's: no link is followed, and writers of one name do not meet. A link of the name `path`
    is replaced; what it points to stays. Pipes and devices are written as they are, and so is a file in a folder that takes no new one.

    Args:
        path: of the file.
        mode: permissions, less those that the umask takes away.
        flush: wait until it is on the disk; False for what there are thousands of and can be made again.
        folder: of the new file, on the same disk; None: that of `path`.
        prefix: what its name begins with.

    Raises:
        OSError: it cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from multimodal_ser._files import writing
        >>> target = Path(tempfile.mkdtemp(), "scores.txt")
        >>> with writing(target) as place:
        ...     _ = place.write_text("0.5")
        >>> target.read_text(), len(list(target.parent.iterdir()))
        ('0.5', 1)
    """
    target = Path(path)
    if target.exists() and not target.is_dir() and not (target.is_file() and os.access(target.parent, os.W_OK)):
        yield target
        return
    place = (folder or target.parent) / f"{prefix}{secrets.token_hex(8)}.part"
    os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield place
        put(place, target, flush=flush)
    except BaseException:
        with suppress(OSError):
            place.unlink()
        raise


def write_text(path: str | Path, text: str, *, errors: str = "strict") -> None:
    """Write a UTF-8 file with `writing`; `errors` as for `open`."""
    with writing(path) as place:
        place.write_text(text, encoding="utf-8", errors=errors)


def write_json(path: str | Path, content: Any, *, errors: str = "strict") -> None:
    """Write JSON with `write_text`; numbers that are none (a figure of nothing) become null."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n", errors=errors)


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


def put(source: Path, target: Path, *, flush: bool = True) -> None:
    """Rename a file over another, or a folder to a name that is free or of an empty folder, when it is on the disk.

    Raises:
        OSError: it cannot be written or renamed.
    """
    for place in (source, *source.rglob("*")) if flush else ():
        _flush(place)
    os.replace(source, target)
    if flush:
        _flush(target.parent)


def _flush(path: Path) -> None:
    """Down to the disk, so that a rename never names what is not there yet; not every system can do so with a folder."""
    with suppress(OSError) if path.is_dir() else nullcontext():
        handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Write a folder beside the old one and exchange them: whenever this is stopped, `recover_folder` finds a whole one."""
    new, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
    shutil.rmtree(new, ignore_errors=True)
    write(new)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        put(folder, old, flush=False)
    put(new, folder)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Undo an exchange that was stopped in the middle."""
    old = folder.with_name(folder.name + ".old")
    if old.exists() and not folder.exists():
        put(old, folder, flush=False)
    for rest in (old, folder.with_name(folder.name + ".new")):
        shutil.rmtree(rest, ignore_errors=True)


def remove_abandoned(folder: Path, prefix: str) -> None:
    """Delete the temporary files whose names begin so, unless they may still have a writer."""
    for file in folder.glob(f"{prefix}*"):
        with suppress(FileNotFoundError):  # its writer has just finished
            if time.time() - file.stat().st_mtime > ABANDONED:
                file.unlink()


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
