"""Pictures."""

import pytest

from multimodal_ser.errors import InputError
from multimodal_ser.evaluation import plot_confusion_matrix


def test_confusion_matrix_shows_shares_of_each_row(tmp_path):
    ax = plot_confusion_matrix(["b", "b", "b", "c"], ["b", "b", "a", "c"], ["a", "b", "c"], title="three")
    assert [text.get_text() for text in ax.texts] == [
        "33",
        "67",
        "0",
        "0",
        "0",
        "100",
    ]  # no row for a, which nobody annotated
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["b (3)", "c (1)"]
    ax.figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("references", "predictions", "says"),
    [(["a"], [], "as many as references"), ([], [], "at least one"), (["a"], ["z"], "none for z")],
)
def test_lists_that_do_not_fit_are_told(references, predictions, says):
    with pytest.raises(InputError, match=says):
        plot_confusion_matrix(references, predictions, ["a", "b"])
