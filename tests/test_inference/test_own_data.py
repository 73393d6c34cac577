"""Data of one's own: what is recognised, what is asked for, and what a run keeps of it."""

import json
import os
import re
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from inference import DataError, Images, Reading, Vectors, load_dataset, open_data
from inference.data.opening import check_same, kind_of
from inference.data.splits import split
from inference.data.torchvision_ops import import_torchvision
from inference.runs.reading import LARGEST, read_mapping

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 4, 5), dtype=np.uint8)
GREY[0, 0, 0] = 255
COLOUR = RNG.integers(0, 256, (20, 4, 5, 3), dtype=np.uint8)
COLOUR[0, 0, 0, 0] = 255
ALL = Reading(test_fraction=0)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def saved(x: np.ndarray, **others: np.ndarray) -> str:
    """The name of a file that holds arrays."""
    if others:
        np.savez("data.npz", x=x, **others)
        return "data.npz"
    np.save("data.npy", x)
    return "data.npy"


def pixels_of(source: str, reading: Reading = ALL) -> tuple[torch.Tensor, int]:
    images = open_data(source, reading).train
    assert isinstance(images, Images)
    return images.pixels, images.levels


@pytest.mark.parametrize(
    ("x", "options", "expected"),
    [
        (GREY, {}, GREY[:, None]),
        (GREY.astype(">i4"), {}, GREY[:, None]),
        (GREY.astype(np.float64), {}, GREY[:, None]),
        (np.asfortranarray(GREY), {}, GREY[:, None]),
        (GREY / 255, {}, GREY[:, None]),
        ((GREY / 255).astype(np.float32), {}, GREY[:, None]),
        ((GREY / 255).astype(np.float16), {}, GREY[:, None]),
        (GREY[:, None], {}, GREY[:, None]),
        (GREY[..., None], {}, GREY[:, None]),
        (COLOUR, {}, COLOUR.transpose(0, 3, 1, 2)),
        (COLOUR.transpose(0, 3, 1, 2), {}, COLOUR.transpose(0, 3, 1, 2)),
        (COLOUR, {"layout": "NCHW"}, COLOUR),
        (COLOUR[:, :3], {"layout": "NHWC"}, COLOUR[:, :3].transpose(0, 3, 1, 2)),
        (GREY // 2, {"levels": 256}, (GREY // 2)[:, None]),
    ],
)
def test_images_are_recognised(x, options, expected):
    source = saved(x)
    pixels, levels = pixels_of(source, Reading(**options, test_fraction=0))
    assert (pixels.numpy() == expected).all()
    assert levels == 256
    assert kind_of(source, Reading(**options)) == "images"


@pytest.mark.parametrize(
    "x", [GREY > 127, (GREY > 127).astype(np.uint8), (GREY > 127).astype(np.float32), (GREY > 127).astype(np.int64)]
)
def test_black_and_white_has_two_levels(x):
    pixels, levels = pixels_of(saved(x))
    assert (pixels.numpy()[:, 0] == (GREY > 127)).all()
    assert levels == 2


def test_black_and_white_of_0_and_255_is_as_asked():
    source = saved(255 * (GREY > 127).astype(np.uint8))
    pixels, levels = pixels_of(source, Reading(levels=2, test_fraction=0))
    assert levels == 2
    assert (pixels.numpy()[:, 0] == (GREY > 127)).all()
    pixels, levels = pixels_of(source, Reading(levels=256, test_fraction=0))
    assert levels == 256
    assert (pixels.numpy()[:, 0] == 255 * (GREY > 127)).all()


def test_levels_that_are_asked_for_are_taken():
    x = GREY % 17
    pixels, levels = pixels_of(saved(x), Reading(levels=17, test_fraction=0))
    assert levels == 17
    assert (pixels.numpy()[:, 0] == x).all()
    pixels, _ = pixels_of(saved(x / 16), Reading(levels=17, test_fraction=0))
    assert (pixels.numpy()[:, 0] == x).all()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (GREY[:, 0, 0], r"x\[:, None\]"),
        (GREY[:, 0], "--layout ND.*shape \\(N, H, W\\)"),
        (COLOUR[:, :3], "--layout NCHW/NHWC"),
        (RNG.random((20, 2, 4, 4)), "--layout NCHW/NHWC"),
        (GREY[:, None, None], r"expected \(N, D\)"),
        (GREY // 2, "up to 127: .*--levels 128"),
        ((GREY % 17).astype(np.float64), "up to 16: .*--levels 17"),
        (RNG.random((20, 4, 5)), "--levels 256"),
        (RNG.normal(size=(20, 4, 5)), "values from -.*from 0 to 1, or grey levels"),
        (GREY * 1.5, "values from 0 to 382.5"),
        (GREY.astype(np.int16) - 1, "values from -1 to 254"),
        (GREY.astype(np.int16) + 1, "values from 1 to 256"),
        (np.where(GREY == 255, np.nan, GREY), "not finite"),
        (np.where(GREY == 255, np.inf, GREY), "not finite"),
        (GREY.astype(complex), "complex numbers"),
        (GREY.astype(str), "text"),
        (GREY.astype(object), "unpickling"),
        (np.zeros(5, [("a", float), ("b", float)]), "several fields"),
        (np.zeros((0, 3)), "no empty side"),
        (np.zeros((5, 0)), "no empty side"),
        (np.array(3.0), "no empty side"),
        (np.array([[0.5, np.nan], [1, 2]]), "finite"),
        (np.ones((1, 3)), "too few"),
        (np.ones((9, 3)), "coordinate 0, 1, 2 has the same value"),
        (np.arange(2.0)[:, None], "at least 2 training vectors are needed to standardise, and there is 1"),
        (np.stack([np.arange(9.0), 1.7e9 + np.arange(9)], 1), "coordinate 1 varies too little .*--dtype float64"),
        (1e8 + np.arange(9.0)[:, None] % 3, "coordinate 0 varies too little .*--dtype float64"),
        (1e-300 * (1 + np.arange(9.0)[:, None] % 2), "coordinate 0 varies too little .*--dtype float64"),
        (COLOUR[0], r"shape \(4, 5, 3\): say --layout NHW if .* needs the shape \(1, 4, 5, 3\)"),
        (COLOUR[..., 0][..., :1], "--layout NHW if these are images of 4 x 1"),
        (RNG.random((20, 4, 4)), "--layout NHW if these are images of 4 x 4"),
        (255 * (GREY > 127).astype(np.uint8), "0 and 255 alone: say --levels 2 .*or --levels 256"),
        (255.0 * (GREY > 127), "0 and 255 alone"),
        (np.array([[1e300, 1], [2, 3]]), "--dtype float64"),
    ],
)
def test_what_is_not_clear_or_not_right_is_told_in_one_line(x, message):
    with pytest.raises((DataError, ValueError), match=message) as caught:
        open_data(saved(x))
    assert "\n" not in str(caught.value)


def test_a_npz_file_has_labels_and_a_test_set():
    source = saved(GREY, y=np.arange(20.0) % 3, x_test=GREY[:7] // 2, y_test=np.arange(7) % 2)
    opened = open_data(source)
    assert (opened.train.pixels.numpy()[:, 0] == GREY).all()
    assert (opened.test.pixels.numpy()[:, 0] == GREY[:7] // 2).all(), "levels are those of both sets"
    assert opened.train.levels == opened.test.levels == 256
    assert opened.train.labels.tolist() == [i % 3 for i in range(20)]
    assert opened.test.labels.tolist() == [i % 2 for i in range(7)]
    assert opened.record["test"] == "x_test of the file"
    assert opened.record["num_classes"] == 3


@pytest.mark.parametrize(
    ("others", "message"),
    [
        ({"y": np.arange(19)}, r"expected 20 labels, of shape \(20,\); got \(19,\)"),
        ({"y": np.arange(20)[:, None]}, r"y\[:, 0\]"),
        ({"y": np.arange(20) / 2}, "whole numbers"),
        ({"y": np.full(20, np.nan)}, "whole numbers"),
        ({"y": np.arange(20) * 10**9}, "below 100,000"),
        ({"y": np.array(list("abcdefghijklmnopqrst"))}, "text"),
        ({"y_test": np.arange(20)}, "y_test, but no x_test"),
        ({"x_test": GREY, "y": np.arange(20)}, "both y and y_test, or neither"),
        ({"x_test": GREY[:, :3]}, r"x and x_test differ: uint8 of shape \(20, 4, 5\) and uint8 of shape \(20, 3, 5\)"),
        ({"x_test": GREY / 255}, "x and x_test differ: uint8 .* and float64"),
        ({"x_test": GREY % 2}, "x holds values up to 255 and x_test up to 1: save both in the same units"),
    ],
)
def test_arrays_that_do_not_fit_together_are_told(others, message):
    with pytest.raises(DataError, match=message):
        open_data(saved(GREY, **others))


@pytest.mark.parametrize(
    ("y", "y_test", "became", "classes"),
    [
        ([3, 7] * 10, [7, 7], [1, 1], ["3", "7"]),
        ([-1, 1] * 10, [-1, 1], [0, 1], ["-1", "1"]),
        ([1, 2] * 10, [5, 1], [2, 0], ["1", "2", "5"]),
        ([0, 1] * 10, [2, 1], [2, 1], None),
    ],
)
def test_labels_with_gaps_are_numbered_in_both_sets_alike(y, y_test, became, classes):
    opened = open_data(saved(GREY, y=np.array(y), x_test=GREY[:2], y_test=np.array(y_test)))
    assert opened.test.labels.tolist() == became
    assert opened.record["classes"] == classes
    assert (f"became 0 to {len(classes or ()) - 1}" in opened.lines()[2]) == bool(classes)
    count = len({*y, *y_test})
    assert opened.train.num_classes == opened.test.num_classes == opened.record["num_classes"] == count
    assert opened.train.take(slice(1)).to("cpu").num_classes == count


def test_a_class_that_only_the_test_share_holds_counts():
    x, y = RNG.normal(size=(20, 2)), np.arange(20) % 2
    rare = next(i for i in range(20) if split(Vectors("x", torch.arange(20.0)[:, None]), 0.1, 0)[1].values[0, 0] == i)
    y[rare] = 2
    opened = open_data(saved(x, y=y))
    assert int(opened.train.labels.max()) == 1
    assert opened.train.num_classes == opened.test.num_classes == 3


def test_numbers_of_classes_must_hold_the_labels():
    with pytest.raises(ValueError, match="labels must be below classes = 2; the largest is 2"):
        Vectors("x", torch.ones(3, 1), torch.arange(3), classes=2)
    with pytest.raises(ValueError, match="expected 2 names of columns; got 1"):
        Vectors("x", torch.ones(3, 2), columns=("a",))
    with pytest.raises(ValueError, match=r"loc must have the shape \(2,\); got \(3,\)"):
        Vectors("x", torch.ones(3, 2), loc=torch.ones(3))
    with pytest.raises(ValueError, match="loc must be finite"):
        Vectors("x", torch.ones(3, 2), loc=torch.tensor([1, torch.nan]))
    with pytest.raises(ValueError, match="scale must be positive, and holds -1$"):
        Vectors("x", torch.ones(3, 2), scale=torch.tensor([1.0, -1.0]))


def test_observations_of_both_sets_are_counted():
    def noted(x: np.ndarray, x_test: np.ndarray) -> list[str]:
        return open_data(saved(x, x_test=x_test)).lines()[2:]

    x = RNG.normal(size=(40, 3))
    assert noted(x, x[:20]) == ["20 of the 20 test vectors are also in the training set"]
    assert noted(x, np.concatenate([x[[5, 5]], x + 1])) == ["2 of the 42 test vectors are also in the training set"]
    assert noted(GREY, GREY[[3, 4]]) == ["2 of the 2 test images are also in the training set"]
    assert noted(x, x + 1) == []


def test_a_npz_file_without_x_says_so():
    np.savez("data.npz", x_train=GREY)
    for ask in (open_data, kind_of):
        with pytest.raises(DataError, match="holds no array x"):
            ask("data.npz")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f8", np.longdouble])
def test_vectors_are_recognised_and_standardised(kind, dtype):
    x = RNG.normal(3, 5, (50, 4)).astype(kind)
    source = saved(x)
    opened = open_data(source, Reading(dtype=dtype))
    assert kind_of(source) == "vectors"
    train, test = opened.train, opened.test
    assert isinstance(train, Vectors)
    assert train.values.dtype == train.observe().dtype == getattr(torch, dtype)
    assert (len(train), len(test)) == (45, 5)
    rows = torch.cat([train.values, test.values]).double().numpy()
    assert np.allclose(np.sort(rows, 0), np.sort(x.astype(np.float64), 0), rtol=1e-6)
    assert train.observe().mean(0).abs().max() < 1e-5
    assert (train.observe().std(0, correction=0) - 1).abs().max() < 1e-5
    assert torch.equal(test.loc, train.loc)
    raw = open_data(source, Reading(dtype=dtype, standardise=False)).train
    assert torch.equal(raw.observe(), raw.values)
    assert np.allclose(opened.record["loc"], train.loc.tolist())


def test_means_and_deviations_are_those_of_doubles():
    x = (1e4 + RNG.normal(size=(20_000, 2))).astype(np.float32)
    train = open_data(saved(x), ALL).train
    assert np.allclose(train.loc, x.mean(0, dtype=np.float64), rtol=1e-7, atol=0)
    assert np.allclose(train.scale, x.std(0, dtype=np.float64), rtol=1e-6, atol=0)


@pytest.mark.parametrize("unit", [1e160, 1e-160, 1e307, 5e-324])
def test_numbers_of_any_size_are_standardised(unit):
    x = unit * np.array([[1.0], [3], [1], [3]])
    train = open_data(saved(x), Reading(dtype="float64", test_fraction=0)).train
    assert train.loc.tolist() == pytest.approx([2 * unit], rel=1e-15, abs=0)
    assert train.scale.tolist() == pytest.approx([unit], rel=1e-15, abs=0)
    assert train.observe().flatten().tolist() == pytest.approx([-1, 1, -1, 1])


def test_numbers_far_from_zero_are_right_where_float32_would_lose_them():
    x = 1.7e9 + np.arange(100.0)[:, None]
    train = open_data(saved(x), Reading(dtype="float64", test_fraction=0)).train
    assert np.allclose(train.observe(), (x - x.mean(0)) / x.std(0), rtol=0, atol=1e-9)
    assert open_data(saved(x.astype(np.float32)), ALL).train.values.dtype == torch.float32, "these came as float32"


def test_whole_numbers_are_vectors_where_asked():
    opened = open_data(saved(GREY[:, 0]), Reading(layout="ND", standardise=False, test_fraction=0))
    assert opened.train.observe().tolist() == GREY[:, 0].tolist()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("labels", [None, "text", "numbers"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_csv_files_are_recognised(delimiter, header, labels, ending):
    x = RNG.normal(size=(12, 3))
    rows = [[*map(repr, map(float, row))] for row in x]
    names = ["first", "second, third", "fourth"]
    if labels:
        for i, row in enumerate(rows):
            row.insert(1, f"class {i % 3}" if labels == "text" else str(i % 3))
        names.insert(1, "kind")
    if header:
        rows.insert(0, [f'"{name}"' for name in names])
    text = ending.join(delimiter.join(row) for row in rows) + ending
    with open("data.csv", "w", newline="", encoding="utf-8-sig" if header else "utf-8") as file:
        file.write(text)
    for column in (["2", "kind"] if header else ["2"]) if labels else [None]:
        opened = open_data("data.csv", Reading(label_column=column, dtype="float64", test_fraction=0))
        assert (opened.train.values.numpy() == x).all()
        assert (opened.train.labels is not None) == bool(labels)
        if labels:
            assert opened.train.labels.tolist() == [i % 3 for i in range(12)]
        assert opened.record["classes"] == (["class 0", "class 1", "class 2"] if labels == "text" else None)
        assert kind_of("data.csv") == "vectors"


@pytest.mark.parametrize(
    ("text", "column", "notes"),
    [
        ("a,b\n0,5.5\n1,3\n2,7\n", None, ["column 'a' counts the rows"]),
        ("Unnamed: 0,b\n1,5.5\n2,3\n3,7\n", None, ["column 'Unnamed: 0' counts the rows"]),
        ("9.5,1\n5.5,2\n7,3\n", None, ["column 2 of the numbers counts the rows"]),
        ("1,5\n2,7\n4,3\n", None, ["if these are decimal commas"]),
        ("5,1.5,height\n2,7,x\n4,3,x\n", "3", ["the first row alone is of class 'height': remove it if it is a"]),
        ("5,1.5,x\n2,7,x\n4,3,y\n", "3", []),
        ("a,b\n1,5\n2,7\n4,3\n", None, []),
    ],
)
def test_what_a_table_may_be_otherwise_is_said(text, column, notes):
    with open("data.csv", "w") as file:
        file.write(text)
    lines = open_data("data.csv", Reading(label_column=column, test_fraction=0)).lines()
    assert ("no header: the first row is data" in lines[0]) == text[0].isdecimal()
    assert len(lines) == 2 + len(notes)
    for note, line in zip(notes, lines[2:], strict=True):
        assert note in line


def test_names_of_columns_are_kept():
    with open("data.csv", "w") as file:
        file.write("width,kind,height\n" + "".join(f"{i * i},x,{i % 3}\n" for i in range(9)))
    opened = open_data("data.csv", Reading(label_column="kind"))
    assert opened.train.columns == opened.test.to("cpu").columns == ("width", "height")
    assert opened.record["columns"] == ["width", "height"]
    with open("data.csv", "w") as file:
        file.write("width,height\n" + "".join(f"{i * i},3\n" for i in range(9)))
    with pytest.raises(ValueError, match="coordinate height has the same value"):
        open_data("data.csv")


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("", None, "is empty"),
        ("\n\n", None, "is empty"),
        ("a,b\n", None, "header and no rows"),
        ("a,b\n1,2\n3\n", None, "row 3: 1 column"),
        ("a,b\n1,2\n\n3,4,5\n", None, "row 4: 3 columns, but the first row has 2"),
        ("a,b\n1,2\n3,\n", None, "row 3, column 2: a value is missing"),
        ("a,b\n1,2\nNA,4\n", None, "row 3, column 1: a value is missing \\('NA'\\)"),
        ("a,b\n1,2\n3,nan\n", None, "row 3, column 2: a value is missing"),
        ("a,b\n1,2\n3,inf\n", None, "row 3, column 2: 'inf' is not a finite number"),
        ("a,b\n1,2\n3,x\n", None, "row 3, column 2: 'x' is not a finite number .--label_column 2"),
        ("a,b\n1,2\n3,1_000\n", None, "row 3, column 2: '1_000'"),
        ("a,b,c\n1,x,2\n3,y,z\n", "b", "row 3, column 3: 'z' is not a finite number"),
        ("1,2,x\n3,4,y\n", None, "row 1, column 3: 'x' among numbers.*--label_column 3"),
        (",a\n0,1\n1,2\n", None, "row 1: column 1 has no name: remove the column if it counts"),
        ("0,1\n4,5\n6,7\n", None, "the first row counts the columns"),
        ("1,2\n4,5\n6,7\n", None, "the first row counts the columns"),
        ("a,a\n4,5\n6,7\n", None, "two columns have the name 'a'"),
        ("a,b\n4,5\n6,7\n", "c", "no column 'c': its columns are 'a, b'"),
        ("a,b\n4,5\n6,7\n", "3", "no column '3'"),
        ("a,b\n4,5\n6,7\n", "0", "no column '0'"),
        ("5,4\n4,5\n6,7\n", "c", "no column 'c': it has 2, and no header"),
        ("a,b\n4,5\n6,\n", "b", "row 3, column 2: a label is missing"),
        ("a,b\n4,5\n6,x\n", "b", "column 2: the label 'x' is text, and others are numbers"),
        ("a,b\n4,5\n6,1.5\n", "b", "whole numbers"),
        ("a\nx\ny\n", "a", "labels alone"),
        ("1,5;2,5\n3,5;4,5\n", None, "commas and semicolons could each"),
        ("a,b\n1,2\n3,\0\n", None, "is not text"),
        ("a,b\n1,2\n", None, "too few"),
        ('a,b\n1,"2\n3,4\n', None, "row 3"),
    ],
)
def test_damaged_csv_files_name_the_row_and_the_column(text, column, message):
    with open("data.csv", "w", newline="") as file:
        file.write(text)
    with pytest.raises(DataError, match=message) as caught:
        open_data("data.csv", Reading(label_column=column))
    assert "\n" not in str(caught.value)
    assert "data.csv" in str(caught.value)


def test_a_csv_file_of_another_encoding_says_so():
    for encoding, message in (("latin-1", "UTF-8"), ("utf-16", "is not text")):
        with open("data.csv", "w", encoding=encoding) as file:
            file.write("größe,b\n1,2\n3,4\n")
        with pytest.raises(DataError, match=message):
            open_data("data.csv")


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "classes"),
    [
        ("digits", [1, 8, 8], (1438, 359), 10),
        ("moons", [2], (10_000, 2_000), 2),
        ("circles", [2], (10_000, 2_000), 2),
        ("swiss_roll", [2], (10_000, 2_000), 0),
        ("wine", [13], (160, 18), 3),
        ("breast_cancer", [30], (512, 57), 2),
    ],
)
def test_data_sets_by_name(name, shape, sizes, classes):
    opened = open_data(name)
    assert kind_of(name) == opened.record["kind"] == ("images" if name == "digits" else "vectors")
    assert (list(opened.train.shape), len(opened.train), len(opened.test)) == (shape, *sizes)
    assert opened.record["num_classes"] == classes
    train, test = load_dataset(name)
    if isinstance(train, Vectors):
        assert train.loc is train.scale is None
        assert torch.equal(train.values, opened.train.values)
        assert torch.equal(test.values, opened.test.values)
        assert test.observe().dtype == torch.float32
        assert open_data(name, Reading(dtype="float64")).train.values.dtype == torch.float64
        assert len({tuple(row) for row in torch.cat([train.values, test.values]).tolist()}) == sum(sizes)


def test_the_plane_has_its_curves():
    """Circles lie at radius 1 and 1/2, moons at distance 1 of their centres, the roll at radius t, up to the noise."""
    train, _ = load_dataset("circles")
    radius = train.values.norm(dim=1)
    for label, expected in enumerate((1.0, 0.5)):
        assert abs(radius[train.labels == label].mean() - expected) < 0.01
    train, _ = load_dataset("moons")
    for label, centre in enumerate(([0.0, 0.0], [1.0, 0.5])):
        away = (train.values[train.labels == label] - torch.tensor(centre)).norm(dim=1)
        assert abs(away.mean() - 1) < 0.01
        assert abs(away.std() - 0.1) < 0.01
    radius = load_dataset("swiss_roll")[0].values.norm(dim=1)
    assert 1.5 * np.pi - 2 < radius.min() < radius.max() < 4.5 * np.pi + 2


@pytest.mark.parametrize(("count", "fraction", "expected"), [(20, 0.1, 2), (3, 0.01, 1), (3, 0.99, 2), (2, 0.5, 1)])
def test_a_split_is_seeded_and_leaves_something_on_both_sides(count, fraction, expected):
    data = Vectors("data", torch.arange(float(count))[:, None], torch.arange(count))
    train, test = split(data, fraction, seed=1)
    assert len(test) == expected
    assert sorted([*train.labels.tolist(), *test.labels.tolist()]) == list(range(count))
    assert torch.equal(train.values[:, 0], train.labels.float())
    assert test.labels.tolist() == sorted(test.labels.tolist()) == split(data, fraction, seed=1)[1].labels.tolist()


def test_a_split_depends_on_its_seed():
    source = saved(RNG.normal(size=(50, 2)))
    seeds = [open_data(source, Reading(test_seed=seed)).test.values for seed in (0, 0, 1)]
    assert torch.equal(seeds[0], seeds[1])
    assert not torch.equal(seeds[0], seeds[2])


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "HWN"},
        {"levels": 1},
        {"levels": 257},
        {"image_size": [0, 4]},
        {"image_size": [4]},
        {"channels": 2},
        {"test_fraction": 1.0},
        {"test_fraction": -0.1},
        {"test_fraction": float("nan")},
        {"test_seed": -1},
        {"dtype": "float16"},
    ],
)
def test_wrong_options_are_told(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name} must be"):
        Reading(**options)


def test_options_of_other_sources_are_refused_not_ignored():
    source = saved(RNG.normal(size=(50, 2)))
    for options, message in (
        ({"label_column": "a"}, "--label_column is of a .csv, and data.npy is a npy"),
        ({"channels": 1}, "--channels is of a folder"),
        ({"levels": 4}, "--levels is of images"),
    ):
        with pytest.raises(ValueError, match=message):
            open_data(source, Reading(**options))
    with pytest.raises(ValueError, match="--layout is of a .npz or a .npy, and moons is a name"):
        kind_of("moons", Reading(layout="ND"))


@pytest.mark.parametrize("source", ["mnits", "", "a/b", "\0", "~no_such_user", "é", "x" * 5000])
def test_a_source_that_names_nothing_is_told(source):
    for ask in (open_data, kind_of):
        with pytest.raises(ValueError, match="expected one of mnist, .*moons.*a folder of pictures"):
            ask(source)


def test_files_that_are_missing_or_of_another_type_are_told(tmp_path):
    with pytest.raises(DataError, match=r"data\.csv cannot be read: No such file"):
        open_data("data.csv")
    (tmp_path / "data.txt").write_text("1 2 3")
    with pytest.raises(DataError, match=r"data\.txt is of no known type"):
        open_data("data.txt")


def test_the_record_is_plain_and_says_it_all(tmp_path):
    opened = open_data(saved(GREY, y=np.arange(20) % 4), Reading(test_fraction=0.25))
    record = opened.record
    assert {
        name: record[name] for name in ("source", "kind", "shape", "levels", "layout", "num_train", "num_test")
    } == {
        "source": "data.npz",
        "kind": "images",
        "shape": [1, 4, 5],
        "levels": 256,
        "layout": "NHW",
        "num_train": 15,
        "num_test": 5,
    }
    assert record["path"] == str(tmp_path / "data.npz")
    assert record["test"] == "a share of 0.25, drawn with seed 0"
    assert record["bytes"] == (tmp_path / "data.npz").stat().st_size
    assert re.fullmatch("[0-9a-f]{64}", record["sha256"])
    assert all("\n" not in line for line in opened.lines())
    assert len(opened.lines()) == 2
    for line, parts in zip(opened.lines(), (["15 training and 5 test", "1 x 4 x 5", "NHW"], ["seed 0"]), strict=True):
        assert all(part in line for part in parts)


def test_the_largest_record_fits_into_a_file(tmp_path):
    count = 1100
    names = sorted(f"class {i} \U0001f600\x07 {'x' * 20}" for i in range(count))
    with open("data.csv", "w", encoding="utf-8", newline="") as file:
        for i, row in enumerate(RNG.normal(size=(count, 1000))):
            file.write(",".join(map(repr, map(float, row))) + f',"{names[max(i, 1)]}"\n')
    record = open_data("data.csv", Reading(label_column="1001", dtype="float64")).record
    assert len(record["loc"]) == 1000
    for text in (yaml.safe_dump(record), json.dumps(record, indent=1)):
        (tmp_path / "record").write_text(text)
        assert len(text) < LARGEST
        assert read_mapping(tmp_path / "record") == record


def test_other_data_are_not_the_recorded_ones(tmp_path):
    source = saved(GREY, y=np.arange(20) % 4)
    opened = open_data(source)
    for text in (yaml.safe_dump(opened.record), json.dumps(opened.record)):
        (tmp_path / "record").write_text(text)
        check_same(read_mapping(tmp_path / "record"), opened)
    for reading, message in (
        (Reading(test_fraction=0.5), "number of training observations was 18, and is 10 now"),
        (Reading(test_seed=1), "origin of the test set"),
    ):
        with pytest.raises(DataError, match=message):
            check_same(opened.record, open_data(source, reading))
    other = GREY.copy()
    other[0, 0, 1] ^= 1
    with pytest.raises(DataError, match=r"data\.npz does not hold the data of this run: the SHA-256 was"):
        check_same(opened.record, open_data(saved(other, y=np.arange(20) % 4)))
    del opened.record["shape"]
    with pytest.raises(DataError, match="damaged: shape missing"):
        check_same(opened.record, opened)


def test_another_standardisation_is_noticed_and_other_last_digits_are_not():
    opened = open_data(saved(RNG.normal(size=(20, 2))))
    record = opened.record
    for name, value in (("loc", [0.0, 1.0]), ("loc", ["a", "b"]), ("scale", [1.0, 2.0]), ("scale", None)):
        with pytest.raises(DataError, match="the (mean|standard deviation) of the training set was .*, and is .* now"):
            check_same(record | {name: value}, opened)
    with pytest.raises(DataError, match="the standardisation was True, and is False now"):
        check_same(record, open_data("data.npy", Reading(standardise=False)))
    check_same(record | {name: [number + 1e-7 for number in record[name]] for name in ("loc", "scale")}, opened)


def test_names_of_classes_are_the_same_after_a_journey_through_json(tmp_path):
    (tmp_path / "data.csv").write_text("a,b\n1,\U0001f600\n2,x\n3,x\n")
    opened = open_data("data.csv", Reading(label_column="b"))
    (tmp_path / "record").write_text(json.dumps(opened.record))
    check_same(read_mapping(tmp_path / "record"), opened)


def test_lines_show_control_characters_and_records_keep_them(tmp_path):
    (tmp_path / "data.csv").write_text('a,b\n1,"two\nlines"\n2,\x1b[31m\n3,\x1b[31m\n')
    opened = open_data("data.csv", Reading(label_column="b"))
    assert opened.record["classes"] == ["\x1b[31m", "two\nlines"]
    assert r"(\x1b[31m, two\nlines)" in opened.lines()[0]


def test_of_a_data_set_by_name_there_is_one_line_to_say():
    assert [len(open_data(name).lines()) for name in ("moons", "wine", "digits")] == [1, 1, 1]


FUNCTIONS = """
import torch
from inference import Vectors, Images
from inference.data.splits import split
from torch import randn

def vectors():
    return Vectors("mine", torch.arange(20.0).reshape(10, 2))

def pair():
    return vectors(), vectors()

def images():
    return Images("mine", torch.arange(40).reshape(10, 1, 2, 2).byte(), levels=40)

class Own:
    name, shape, num_dims, log_det, conditional, num_classes = "own", (2,), 2, 0.0, False, 0

    def __init__(self, x): self.x = x
    def __len__(self): return len(self.x)
    def to(self, device): return Own(self.x.to(device))
    def take(self, index): return Own(self.x[index])
    def extremes(self): return torch.arange(1)
    def arguments(self, index=slice(None)): return (self.x[index] + torch.rand(()),)
    def batches(self, batch_size, order=None):
        for index in torch.arange(len(self)).split(batch_size):
            yield self.arguments(index)

def own():
    return Own(torch.arange(20.0).reshape(10, 2))

def nothing():
    return None

def leaves():
    raise SystemExit(2)

def fails():
    raise RuntimeError("two\\nlines")

number = 3
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of functions that return data."""
    (tmp_path / "mine_data.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(tmp_path)
    yield "mine_data"
    sys.modules.pop("mine_data", None)


@pytest.mark.parametrize(
    ("name", "kind", "sizes"),
    [
        ("vectors", "vectors", (9, 1)),
        ("pair", "vectors", (10, 10)),
        ("images", "images", (9, 1)),
        ("own", "vectors", (9, 1)),
    ],
)
def test_functions_return_data(mine, name, kind, sizes):
    source = f"{mine}.{name}"
    opened = open_data(source, allow=[mine])
    assert kind_of(source, allow=[mine]) == kind
    assert (len(opened.train), len(opened.test)) == sizes
    torch.rand(3)
    check_same(opened.record, open_data(source))
    assert opened.record["sha256"]
    if name == "vectors":
        assert opened.train.observe().mean(0).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", r"mine_data.nothing\(\) returned NoneType: expected a data set"),
        ("fails", r"mine_data.fails\(\) failed: RuntimeError: two"),
        ("leaves", r"mine_data.leaves\(\) failed: SystemExit: 2"),
        ("number", "defines no function number: that is of type int"),
        ("randn", "defines no function randn"),
        ("split", "defines no function split"),
        ("missing", "defines no function missing"),
        ("vectorz", r"defines no function vectorz.*did you mean vectors\?"),
    ],
)
def test_functions_that_return_no_data_are_told(mine, name, message):
    with pytest.raises((DataError, ValueError), match=message) as caught:
        open_data(f"{mine}.{name}")
    assert "\n" not in str(caught.value)


def test_nothing_is_imported_that_was_not_allowed(mine):
    for allow in ([], ["mine"], ["mine_data.other"]):
        for ask in (open_data, kind_of):
            with pytest.raises(ValueError, match="refused to import 'mine_data.vectors'.*--allow_import mine_data"):
                ask("mine_data.vectors", allow=allow)
    assert "mine_data" not in sys.modules


def picture(path: str | Path, x: np.ndarray, **options) -> None:
    """Write a picture of grey levels (H, W) or colours (H, W, 3)."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    Image.fromarray(x).save(path, **options)


def folder_of(x: np.ndarray, names: list[str]) -> str:
    for name, part in zip(names, x, strict=False):
        picture(f"pictures/{name}", part)
    return "pictures"


@pytest.mark.parametrize("x", [GREY, COLOUR])
def test_flat_folders_of_pictures_are_in_the_order_of_their_names(x, tmp_path):
    order = [3, 0, 4, 1, 2]
    source = folder_of(x[order], [f"{'abcde'[i]}.{'png' if i % 2 else 'bmp'}" for i in order])
    (tmp_path / "pictures" / ".hidden").write_text("no picture")
    opened = open_data(source, ALL)
    expected = x[:5, None] if x is GREY else x[:5].transpose(0, 3, 1, 2)
    assert (opened.train.pixels.numpy() == expected).all()
    assert opened.train.labels is None
    assert (opened.record["layout"], opened.record["levels"]) == (
        "grey pictures" if x is GREY else "coloured pictures",
        256,
    )
    assert opened.record["path"] == str(tmp_path / "pictures")
    assert opened.record["bytes"] == sum(os.path.getsize(f"pictures/{name}") for name in os.listdir("pictures")) - 10
    assert kind_of(source) == "images"
    assert len(open_data(source).test) == 1


def test_folders_of_classes_and_of_both_sets():
    names = ["train/b/1.png", "train/a/2.png", "train/b/3.png", "train/c/4.png", "test/c/5.png", "test/a/6.png"]
    opened = open_data(folder_of(GREY, names))
    assert (opened.train.pixels.numpy()[:, 0] == GREY[[1, 0, 2, 3]]).all()
    assert (opened.test.pixels.numpy()[:, 0] == GREY[[5, 4]]).all()
    assert (opened.train.labels.tolist(), opened.test.labels.tolist()) == ([0, 1, 1, 2], [0, 2])
    assert (opened.record["classes"], opened.record["num_classes"]) == (["a", "b", "c"], 3)
    assert opened.record["test"] == "the folder test"
    train = open_data("pictures/train", ALL)
    assert torch.equal(train.train.pixels, opened.train.pixels)
    assert train.train.labels.tolist() == [0, 1, 1, 2]
    assert not open_data("pictures/train/b", ALL).record["classes"]


def test_folders_of_both_sets_are_found_in_any_case():
    opened = open_data(folder_of(GREY, ["Train/1.png", "Train/2.png", "TEST/3.png"]))
    assert (len(opened.train), len(opened.test), opened.record["test"]) == (2, 1, "the folder TEST")


def test_pictures_of_one_bit_have_two_levels():
    source = folder_of(GREY[:3] > 127, ["a.png", "b.png", "c.bmp"])
    opened = open_data(source, ALL)
    assert (opened.train.pixels.numpy()[:, 0] == (GREY[:3] > 127)).all()
    assert (opened.train.levels, opened.record["layout"]) == (2, "black and white pictures")
    assert open_data(source, Reading(channels=1, test_fraction=0)).train.levels == 256
    picture("pictures/d.png", GREY[0])
    with pytest.raises(DataError, match="mode L, and those before it are 1"):
        open_data(source)


def test_pictures_are_turned_as_their_camera_was():
    for orientation, turned in ((1, GREY[0]), (3, GREY[0][::-1, ::-1]), (6, np.rot90(GREY[0], -1))):
        exif = Image.Exif()
        exif[0x112] = orientation
        picture("pictures/a.png", GREY[0], exif=exif)
        assert (open_data("pictures", ALL).train.pixels[0, 0].numpy() == turned).all()


def test_transparent_parts_are_asked_for_and_become_white():
    colour = np.concatenate([COLOUR[0], np.where(COLOUR[0, ..., :1] > 127, 255, 0)], 2).astype(np.uint8)
    picture("a/1.png", colour)
    picture("b/1.png", GREY[0], transparency=int(GREY[0, 1, 1]))
    picture("c/1.png", COLOUR[0], transparency=tuple(map(int, COLOUR[0, 1, 1])))
    clear = {"a": colour[..., 3] == 0, "b": GREY[0] == GREY[0, 1, 1], "c": (COLOUR[0] == COLOUR[0, 1, 1]).all(-1)}
    for folder, x, channels in (("a", COLOUR[0], 3), ("b", GREY[0][..., None], 1), ("c", COLOUR[0], 3)):
        with pytest.raises(DataError, match="is transparent in parts.*--channels"):
            open_data(folder)
        found = open_data(folder, Reading(channels=channels, test_fraction=0)).train.pixels[0].permute(1, 2, 0)
        assert (found.numpy() == np.where(clear[folder][..., None], 255, x)).all()


def test_pictures_are_what_torchvision_reads():
    source = folder_of(COLOUR, [f"{'ab'[i % 2]}/{i:02}.png" for i in range(8)])
    import_torchvision()
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import PILToTensor

    theirs = ImageFolder(source, transform=PILToTensor())
    ours = open_data(source, ALL)
    assert theirs.classes == ours.record["classes"]
    for (x, label), own, y in zip(theirs, ours.train.pixels, ours.train.labels, strict=True):
        assert torch.equal(x, own)
        assert label == y


def test_pictures_are_resized_and_turned_where_asked():
    source = folder_of(GREY, ["a.png", "b.png"])
    picture("pictures/c.png", COLOUR[0, :3])
    grey = open_data(source, Reading(channels=1, image_size=(8, 6), test_fraction=0))
    assert grey.train.shape == (1, 8, 6)
    assert grey.record["layout"] == "turned grey, resized pictures"
    coloured = open_data(source, Reading(channels=3, image_size=(4, 5), test_fraction=0)).train
    assert (coloured.pixels[:2].numpy() == GREY[:2, None]).all(), "neither resized nor changed"
    flat = np.full((30, 30), 100, np.uint8)
    picture("flat/a.png", flat)
    assert (open_data("flat", Reading(image_size=(7, 9), test_fraction=0)).train.pixels == 100).all()


def test_other_pictures_are_other_data():
    source = folder_of(GREY, ["a.png", "b.png", "c.png"])
    opened = open_data(source)
    check_same(opened.record, open_data(os.path.abspath(source)))
    os.rename("pictures/c.png", "pictures/d.png")
    with pytest.raises(DataError, match="SHA-256"):
        check_same(opened.record, open_data(source))


def wide_png() -> bytes:
    """A coloured picture of 16 bits a channel, of which PIL would read the upper 8 alone."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = zlib.compress(b"".join(b"\0" + bytes(5 * 6) for _ in range(4)))
    header = struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


WIDE_PNG = wide_png()


TWO_FRAMES = {"save_all": True, "append_images": [Image.new("L", (5, 4), 9)]}


@pytest.mark.parametrize(
    ("make", "channels", "message"),
    [
        (lambda folder: (folder / "empty").mkdir(), None, "both files .a.png. and folders .empty."),
        (lambda folder: (folder / "c.png").touch(), None, "c.png is no picture: expected PNG"),
        (lambda folder: (folder / "c.txt").write_text("text"), None, "c.txt is no picture: expected PNG"),
        (
            lambda folder: Image.new("L", (5, 4)).save(folder / "c.eps"),
            None,
            "c.eps is no picture",
        ),
        (
            lambda folder: Image.new("L", (5, 4)).save(folder / "c.tga"),
            None,
            "c.tga is no picture",
        ),
        (lambda folder: os.truncate(folder / "b.png", 60), None, "b.png cannot be read"),
        (lambda folder: picture(folder / "c.png", GREY[0, :3]), None, "3 x 5 pixels.* 4 x 5.*--image_size 4 5"),
        (lambda folder: picture(folder / "c.png", COLOUR[0]), None, "mode RGB, and those before it are L.*--channels"),
        (
            lambda folder: picture(folder / "0.png", np.zeros((4, 5, 4), np.uint8)),
            None,
            "mode RGBA and is transparent in parts:.*--channels",
        ),
        (lambda folder: Image.new("P", (5, 4)).save(folder / "c.gif"), None, "c.gif has the mode P.*--channels"),
        (lambda folder: picture(folder / "c.png", GREY[0].astype(np.uint16)), 1, "more than 8 bits"),
        (lambda folder: picture(folder / "c.tiff", GREY[0].astype(np.float32)), 1, "more than 8 bits"),
        (lambda folder: (folder / "c.png").write_bytes(WIDE_PNG), 3, "more than 8 bits"),
        (lambda folder: (folder / "c.ppm").write_bytes(b"P6 5 4 65535\n" + bytes(120)), 3, "more than 8 bits"),
        (lambda folder: Image.new("L", (5, 4)).save(folder / "c.tiff", **TWO_FRAMES), None, "c.tiff has 2 frames"),
    ],
)
def test_pictures_that_are_damaged_or_differ_are_named(make, channels, message, tmp_path):
    source = folder_of(GREY, ["a.png", "b.png"])
    make(tmp_path / source)
    with pytest.raises(DataError, match=message) as caught:
        open_data(source, Reading(channels=channels))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "cannot be read|no known|no data set"),
        (["a/b/c.png"], "the folder of a class, holds a folder b"),
        (["train/a.png"], "holds folders train: expected train and test alone"),
        (["train/a.png", "test/b.png", "val/c.png"], "holds folders test, train, val"),
        (["training/a.png", "testing/b.png"], "holds folders testing, training: expected train and test alone"),
        (["Train/a.png", "Val/b.png"], "holds folders Train, Val"),
        (["test/a.png", "validation/b.png"], "holds folders test, validation"),
        (["train/a/a.png", "test/b/b.png"], "the training pictures have no class b"),
        (["train/a.png", "test/b/b.png"], "the training pictures have no class b"),
        (["train/a/a.png", "test/b.png"], "the training pictures have no class None"),
        (["a.png"], "too few"),
    ],
)
def test_folders_that_are_laid_out_otherwise_are_told(names, message):
    with pytest.raises((DataError, ValueError), match=message):
        open_data(folder_of(GREY, names))
    os.makedirs("empty/a")
    for folder in ("empty", "empty/a"):
        with pytest.raises(DataError, match="no pictures"):
            open_data(folder)
