"""The ids of a table of predictions, as the check of an upload keeps them."""

import numpy as np
import pytest

from app.errors import UserError
from app.loaders.models.predictions_ids import hashed, list_ids


def listed(folder, text, **more):
    (folder / "table.csv").write_text(text, encoding="utf-8")
    answer = list_ids({"file": str(folder / "table.csv"), "output": str(folder / "out"), **more}, lambda _: None)
    return answer, np.load(folder / "out" / "ids.npy")


def test_ids_are_kept_sorted_and_once(tmp_path):
    answer, found = listed(tmp_path, "id,cat,dog\nb 猫,.1,.9\na,.5,.5\nb 猫,.1,.9\n")
    assert answer == {"ids": 2}
    assert found.tolist() == sorted(hashed(["a", "b 猫"]).tolist())


def test_many_ids_have_hashes_of_their_own():
    assert len(np.unique(hashed(str(number) for number in range(100_000)))) == 100_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,cat,dog\na,nan,.5\n", "'a' has a score that is not a finite number. Give every class a number"),
        ("id,cat,dog\n", "no rows"),
        ("cat,dog\n.1,.9\n", "No column of example ids"),
        ("id,cat,fox\na,.1,.9\n", "No column of numbers for the class 'dog'"),
    ],
)
def test_what_is_no_table_of_predictions_is_refused_at_the_check(tmp_path, text, words):
    with pytest.raises(UserError, match=words):
        listed(tmp_path, text, classes=["cat", "dog"])
