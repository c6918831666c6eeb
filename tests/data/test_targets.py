import numpy as np
import pytest

from hubel.data.targets import class_order, read_targets


def test_integers_are_classes_with_their_own_names():
    found = read_targets(np.array([7, 3, 7, 10]))
    assert found.classes == ("3", "7", "10")
    assert found.values.tolist() == [1, 0, 1, 2]
    assert found.values.dtype == np.int64


def test_given_names_number_the_classes():
    found = read_targets([0, 2, 2], classes=["cat", "cow", "dog"])
    assert found.classes == ("cat", "cow", "dog")
    assert found.values.tolist() == [0, 2, 2]
    assert "no example: cow" in found.notes[0]


def test_given_names_order_words():
    assert read_targets(["b", "a"], classes=["b", "a"]).values.tolist() == [0, 1]


def test_words_and_yes_no_are_classes():
    assert read_targets(["dog", "cat", "dog"]).values.tolist() == [1, 0, 1]
    assert read_targets(np.array(["dog", "cat"], dtype=object)).classes == ("cat", "dog")
    assert read_targets(np.array([b"dog", b"cat"])).classes == ("cat", "dog")
    found = read_targets([True, False])
    assert (found.classes, found.values.tolist()) == (("False", "True"), [1, 0])


def test_class_order_is_natural():
    assert class_order(["img10", "img9", "Zoo", "apple", "img9"]) == ("apple", "img9", "img10", "Zoo")


def test_none_is_a_class_name_like_another():
    assert read_targets(["none", "crack"]).classes == ("crack", "none")


def test_one_hot_rows_are_classes_and_other_rows_are_labels():
    found = read_targets(np.eye(3, dtype=int)[[2, 0, 1]])
    assert found.values.tolist() == [2, 0, 1]
    assert "one-hot" in found.notes[0]
    several = read_targets(np.array([[1, 1, 0], [0, 0, 0]]), classes=["a", "b", "c"])
    assert several.values.dtype == np.uint8
    assert several.values.tolist() == [[1, 1, 0], [0, 0, 0]]
    assert several.classes == ("a", "b", "c")
    assert read_targets(np.eye(3, dtype=bool), task="labels").values.shape == (3, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floating_point_numbers_are_real_values_even_when_whole(dtype):
    found = read_targets(np.array([0.0, 1.0, 2.0, 1.0], dtype))
    assert found.classes is None
    assert found.values.dtype == dtype
    assert found.values.shape == (4, 1)
    assert "fitted as real values" in found.notes[0]
    assert read_targets(np.array([0.25, 1.5], dtype)).notes == ()


def test_task_overrides():
    assert read_targets([0.0, 1.0, 2.0], task="classes").classes == ("0", "1", "2")
    assert read_targets([1, 2, 5], task="values").values.tolist() == [[1.0], [2.0], [5.0]]
    with pytest.raises(ValueError, match=r"whole numbers, but y has values such as 0\.5"):
        read_targets([0.5, 1.0], task="classes")
    with pytest.raises(ValueError, match="task='class' is not known"):
        read_targets([0, 1], task="class")  # type: ignore[arg-type]


def test_floating_one_hot_rows_are_asked_about():
    with pytest.raises(ValueError, match=r"floating-point matrix of one-hot rows.*argmax"):
        read_targets(np.eye(3))
    assert read_targets(np.eye(3), task="classes").classes == ("0", "1", "2")
    assert read_targets(np.eye(3), task="values").values.shape == (3, 3)


def test_a_column_vector_is_a_column():
    assert read_targets(np.array([[0], [1], [0]])).values.tolist() == [0, 1, 0]
    assert read_targets(np.array([["a"], ["b"]])).classes == ("a", "b")


def test_missing_labels_are_named():
    with pytest.raises(ValueError, match=r"2 of 3 examples have no label .*: row 0, row 2"):
        read_targets(["", "a", None])
    with pytest.raises(ValueError, match=r"1 of 3 examples have no label .*: photo\.png"):
        read_targets([0.5, np.nan, 0.1], ids=["a", "photo.png", "c"])


def test_one_class_only_is_refused():
    with pytest.raises(ValueError, match='all 3 examples have the class "5"'):
        read_targets([5, 5, 5])
    with pytest.raises(ValueError, match='all 2 examples have the class "cat"'):
        read_targets(["cat", "cat"])


def test_many_different_integers_are_asked_about():
    with pytest.raises(
        ValueError, match=r"measured amounts, pass floating-point numbers: y\.astype\(float\)"
    ):
        read_targets(np.arange(100))


def test_contradictions_are_refused():
    with pytest.raises(ValueError, match=r"class numbers from 0 to 2, but classes has 2 names"):
        read_targets([0, 1, 2], classes=["a", "b"])
    with pytest.raises(ValueError, match="labels that are not in classes: c"):
        read_targets(["a", "c"], classes=["a", "b"])
    with pytest.raises(ValueError, match=r"matrix .* of integers beyond 0 and 1"):
        read_targets([[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="real values, which have no classes"):
        read_targets([0.5, 0.1], classes=["a", "b"])
    with pytest.raises(ValueError, match="mix int, str"):
        read_targets(np.array([1, "a"], dtype=object))
    with pytest.raises(ValueError, match="expected integers, strings"):
        read_targets(np.array([1j, 2j]))
