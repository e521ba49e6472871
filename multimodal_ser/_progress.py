"""Progress bars and messages on stderr, for the person who waits."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def say(message: str) -> None:
    """Print a line on stderr, above the bars that are there."""
    if "tqdm" not in sys.modules:  # no bar without it
        print(f"multimodal-ser: {message}", file=sys.stderr, flush=True)  # noqa: T201
        return
    from tqdm import tqdm

    tqdm.write(f"multimodal-ser: {message}", file=sys.stderr)


class ProgressBar:
    """A bar that is drawn from its first step on; called with (done, all), or told of each step by `update`.

    Args:
        description: what stands before it.
        shown: whether it is drawn; None: on a terminal and in a notebook.
        total: steps; None: unknown, or what a call says.
        unit: what a step is.
        initial: steps that were done before.

    Example:
        >>> from multimodal_ser._progress import ProgressBar
        >>> with ProgressBar("recordings") as show:  # nothing is drawn where stderr is no terminal
        ...     for done in range(1, 4):
        ...         show(done, 3)
    """

    def __init__(
        self,
        description: str | None = None,
        *,
        shown: bool | None = None,
        total: int | None = None,
        unit: str = "it",
        initial: int = 0,
    ):
        self._description, self._shown, self._total, self._unit, self._initial = (
            description,
            shown,
            total,
            unit,
            initial,
        )
        self._bar: Any = None

    def __call__(self, done: int, total: int | None) -> None:
        """Draw that `done` steps of `total` are done; a bar begins anew where the total changes or fewer are done than before."""
        if self._bar is not None and (total != self._total or done < self._bar.n):
            self.close()
        self._total = total
        self.update(done - (0 if self._bar is None else self._bar.n))
        if total is not None and done >= total:
            self.close()

    def update(self, steps: int = 1) -> None:
        """Draw that so many more steps are done."""
        if self._bar is None and self._shown is not False:
            self._bar = self._drawn()
        if self._bar is not None:
            self._bar.update(steps)

    def figures(self, **figures: Any) -> None:
        """Values to stand behind the bar from its next step on."""
        if self._bar is not None:
            self._bar.set_postfix(figures, refresh=False)

    def _drawn(self) -> Any:
        from tqdm.auto import tqdm

        notebook = any(each.__module__ == "tqdm.notebook" for each in tqdm.__mro__)  # whose stderr is no terminal
        return tqdm(
            desc=self._description, total=self._total, unit=self._unit, initial=self._initial, dynamic_ncols=True, mininterval=0.5,
            leave=False, disable=False if self._shown or notebook else None,
        )  # fmt: skip

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def with_bar(items: Iterable[T], description: str | None = None, **options: Any) -> Iterator[T]:
    """The same items, with a bar that tells how many have been taken; `options` as for `ProgressBar`.

    Example:
        >>> from multimodal_ser._progress import with_bar
        >>> list(with_bar(["a.wav", "b.wav"], "predict", total=2, unit="input"))
        ['a.wav', 'b.wav']
    """
    with ProgressBar(description, **options) as bar:
        for item in items:
            yield item
            bar.update()
