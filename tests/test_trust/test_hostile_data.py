"""Files of strangers: whatever they hold, one line says that they cannot be read; nothing blocks, explodes or runs.

PYRO_MODELS_EXAMPLES sets how many damaged files of each kind are tried.
"""

import io
import os
import pickle
import random
import socket
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from inference import DataError, Reading, open_data
from inference.data import files, mapped, pictures
from inference.data.opening import kind_of

EXAMPLES = 10 * int(os.environ.get("PYRO_MODELS_EXAMPLES", "15"))
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (9, 4, 5), dtype=np.uint8)
OPTIONS = [
    Reading(),
    Reading(layout="ND"),
    Reading(levels=256, layout="NHW"),
    Reading(dtype="float64", standardise=False, test_fraction=0),
]


def npy(x: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, x)
    return content.getvalue()


def npz(compressed: bool = False, **arrays: np.ndarray) -> bytes:
    content = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(content, **arrays)
    return content.getvalue()


def header(shape: object = (3, 2), descr: object = "<f8", fortran_order: object = False, **more: object) -> bytes:
    """A .npy file's header, which may say anything."""
    text = repr({"descr": descr, "fortran_order": fortran_order, "shape": shape, **more}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def png(x: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(x).save(content, "PNG")
    return content.getvalue()


WHOLE = {
    "a.npy": npy(RNG.normal(size=(9, 4))),
    "b.npy": npy(GREY),
    "c.npz": npz(x=GREY, y=np.arange(9), x_test=GREY, y_test=np.arange(9)),
    "d.npz": npz(True, x=RNG.normal(size=(9, 4)), y=np.arange(9)),
    "e.csv": b"a,b,c\n" + b"".join(b"%.3f,%.3f,%d\n" % (i, i * i, i % 3) for i in range(9)),
    "f.csv": b"1.5;2.5;x\n2.5;2;y\n3.5;3;y\n",
}


def damaged(content: bytes, chance: random.Random) -> bytes:
    """A file with a few bytes changed, left out, doubled or cut off."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(min(len(changed), chance.choice([128, len(changed)])) or 1)
        how = chance.choice(["change", "flip", "leave out", "double", "cut off", "digit"])
        if how == "cut off":
            del changed[place + 1 :]
        elif how == "leave out":
            del changed[place : place + chance.randint(1, 9)]
        elif how == "double":
            changed[place:place] = changed[place : place + chance.randint(1, 40)]
        elif changed:
            old = changed[min(place, len(changed) - 1)]
            new = {"change": chance.randrange(256), "flip": old ^ (1 << chance.randrange(8)), "digit": 48 + place % 10}
            changed[min(place, len(changed) - 1)] = new[how]
    return bytes(changed)


def refused_or_right(source: str, reading: Reading) -> None:
    """Data that are opened can be used; all else is refused in one line."""
    for ask in (open_data, kind_of):
        found: Any = None
        try:
            found = ask(source, reading)
        except (DataError, ValueError) as error:
            refused = error
        if found is None:
            assert type(refused) in (DataError, ValueError), repr(refused)
            assert "\n" not in str(refused)
        elif ask is open_data:
            assert torch.isfinite(found.train.observe()).all()
            assert len(found.train) == found.record["num_train"] > 0


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", WHOLE)
def test_damaged_files_are_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chance = random.Random(f"{name} 1")
    for i in range(EXAMPLES):
        Path(name).write_bytes(damaged(WHOLE[name], chance))
        monkeypatch.setattr(mapped, "MAPPED_ABOVE", 100 if i % 2 else 2**30)
        reading = chance.choice(OPTIONS)
        if name.endswith(".csv"):
            reading = Reading(label_column=chance.choice([None, "3", "c"]))
        refused_or_right(name, reading)


def test_whole_files_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in WHOLE.items():
        Path(name).write_bytes(content)
        open_data(name, Reading(label_column="3") if name.endswith(".csv") else Reading())


HEADERS = [
    header((-3, 2)),
    header((3, -2)),
    header((10**12, 2)),
    header((2**62, 2**62, 2**62)),
    header((2**63, 0)),
    header((0, 2)),
    header(()),
    header(3),
    header([3, 2]),
    header((3.0, 2.0)),
    header((True, 3)),
    header(None),
    header((3, 2), "|O"),
    header((3, 2), "<c16"),
    header((3, 2), "<U2"),
    header((3, 2), "|S8"),
    header((6,), [("a", "<f8")]),
    header((3, 2), ("<f8", (1000, 1000))),
    header((3, 2), "<M8[s]"),
    header((3, 2), "|V8"),
    header((3, 2), "<f999"),
    header((3, 2), "f8" * 1000),
    header((3, 2), 7),
    header((3, 2), None),
    header((3, 2), fortran_order=3),
    header((3, 2), more=1),
    header("__import__('os').system('touch struck')"),
    b"\x93NUMPY\x01\x00" + struct.pack("<H", 60) + b"__import__('os').system('touch struck')".ljust(60),
    b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000,
    b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"-" * 9000,
    b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{",
    b"\x93NUMPY\x03\x00" + header()[8:],
    b"\x93NUMPY\x09\x00" + header()[8:],
    b"\x93NUMPY",
    b"",
    pickle.dumps(np.zeros(3)),
]


@pytest.mark.parametrize("content", HEADERS, ids=range(len(HEADERS)))
def test_headers_that_lie_are_refused(content, tmp_path, monkeypatch):
    """As files and as parts of a .npz file, read whole and row by row."""
    monkeypatch.chdir(tmp_path)
    Path("data.npy").write_bytes(content + bytes(48))
    with zipfile.ZipFile("data.npz", "w") as archive:
        archive.writestr("x.npy", content + bytes(48))
    for source in ("data.npy", "data.npz"):
        for ask in (open_data, kind_of):
            for above in (2**30, 10):
                monkeypatch.setattr(mapped, "MAPPED_ABOVE", above)
                with pytest.raises(DataError) as caught:
                    ask(source)
                assert "\n" not in str(caught.value)
                assert len(str(caught.value)) < 1000
    assert not Path("struck").exists()


class Strikes:
    def __reduce__(self):
        return os.system, ("touch struck",)


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    objects = np.array([Strikes(), 1], dtype=object)
    np.save("data.npy", objects, allow_pickle=True)
    np.savez("data.npz", x=GREY, y=objects)
    Path("pickled.npy").write_bytes(pickle.dumps(Strikes()))
    for source in ("data.npy", "data.npz", "pickled.npy"):
        with pytest.raises(DataError):
            open_data(source)
    assert not Path("struck").exists()


def test_archives_that_would_grow_are_refused_before_they_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(files, "LARGEST", 10**6)
    monkeypatch.setattr("inference.data.arrays.LARGEST", 10**6)
    Path("data.npz").write_bytes(npz(True, x=np.zeros((1000, 2000))))
    assert os.path.getsize("data.npz") < 10**5
    with pytest.raises(DataError, match=r"16,000,128 bytes.*up to 1,000,000: save x by itself as a \.npy file"):
        open_data("data.npz")


def test_archives_whose_sizes_lie_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = npz(True, x=np.zeros((1000, 200)))
    size = struct.pack("<I", 1000 * 200 * 8 + 128)
    assert size in content
    for lie in (1000, 2**31):
        Path("data.npz").write_bytes(content.replace(size, struct.pack("<I", lie)))
        with pytest.raises(DataError, match="is damaged|Bad CRC"):
            open_data("data.npz")


def test_archives_of_two_arrays_of_one_name_or_compressed_otherwise_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("bzip.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("x.npy", npy(GREY))
    with zipfile.ZipFile("twice.npz", "w") as archive:
        archive.writestr("x.npy", npy(GREY))
        archive.writestr("x", npy(GREY))
    with pytest.raises(DataError, match="compressed in a way that NumPy does not use"):
        open_data("bzip.npz")
    with pytest.raises(DataError, match="two arrays of the same name"):
        open_data("twice.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes on Windows")
@pytest.mark.parametrize("suffix", ["npy", "npz", "csv"])
def test_what_is_no_regular_file_is_refused_at_once(suffix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo(f"pipe.{suffix}")
    os.symlink("/dev/zero", f"device.{suffix}")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"socket.{suffix}")
    for kind in ("pipe", "device", "socket"):
        with pytest.raises(DataError, match=r"cannot be read"):
            open_data(f"{kind}.{suffix}")
    listener.close()
    Path("pictures").mkdir()
    os.mkfifo("pictures/pipe.png")
    with pytest.raises(DataError, match="pipe.png cannot be read: it is not a regular file"):
        open_data("pictures")


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="of Linux")
def test_files_that_fail_while_they_are_read_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    for suffix in ("csv", "npy", "npz"):
        os.symlink("/proc/self/mem", f"data.{suffix}")
        with pytest.raises(DataError):
            open_data(f"data.{suffix}")
    with pytest.raises(DataError, match="mem cannot be read"):
        pictures._read(files.open_file("/proc/self/mem"), "mem")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_not_followed_out_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("secret", "pictures/a"):
        Path(folder).mkdir(parents=True)
    Path("secret/1.png").write_bytes(png(GREY[0]))
    Path("pictures/a/1.png").write_bytes(png(GREY[0]))
    Path("pictures/a/2.png").write_bytes(png(GREY[1]))
    os.symlink("1.png", "pictures/a/3.png")
    assert len(open_data("pictures", Reading(test_fraction=0)).train) == 3
    os.symlink("pictures", "elsewhere")
    assert len(open_data("elsewhere", Reading(test_fraction=0)).train) == 3, "the folder itself may be a link"
    for name, target in (("a/4.png", "../../secret/1.png"), ("b", "../secret"), ("c", "/")):
        os.symlink(target, f"pictures/{name}")
        with pytest.raises(DataError, match="is a link out of the folder"):
            open_data("pictures")
        os.unlink(f"pictures/{name}")
    os.symlink("loop", "pictures/loop")
    with pytest.raises(DataError):
        open_data("pictures")


def test_pictures_that_would_grow_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Path("pictures").mkdir()
    for side in (35, 50):  # PIL warns of the first and refuses the second
        Path("pictures/a.png").write_bytes(png(np.zeros((side, side), np.uint8)))
        with pytest.raises(DataError, match="decompression bomb"):
            open_data("pictures")
    monkeypatch.setattr("inference.data.pictures.LARGEST", 2000)
    for name in "abc":
        Path(f"pictures/{name}.png").write_bytes(png(np.zeros((30, 30), np.uint8)))
    with pytest.raises(DataError, match="3 pictures, which take 2,700 bytes of memory, .*--image_size"):
        open_data("pictures")
    assert open_data("pictures", Reading(image_size=(10, 10))).train.shape == (1, 10, 10)
    monkeypatch.setattr(Image.Image, "resize", None)
    with pytest.raises(DataError, match=r"3 pictures, which take 30,000,000,000 bytes"):
        open_data("pictures", Reading(image_size=(10**5, 10**5)))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "PPM"])
def test_damaged_pictures_are_refused_in_one_line(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pictures").mkdir()
    content = io.BytesIO()
    Image.fromarray(GREY[0]).save(content, kind)
    chance = random.Random(f"{kind} 1")
    for _ in range(EXAMPLES // 3):
        for name in "abc":
            Path(f"pictures/{name}").write_bytes(damaged(content.getvalue(), chance))
        refused_or_right("pictures", chance.choice([Reading(), Reading(channels=3, image_size=(3, 3))]))


@pytest.mark.parametrize(
    "content",
    [
        b"a,b\n" + b"1" * 10**6 + b",2\n3,4\n",
        b'a,b\n"' + b"1\n" * 10**5,
        b"a,b\n" + b"," * 10**6,
        b"\xff\xfe" + "a,b\n1,2\n".encode("utf-16-le"),
        b"\x1f\x8b\x08" + bytes(range(256)) * 10,
        npy(GREY),
        b"a,b\r1,2\r3,4\r",
        b"a,b\n1,2\n" * 3,
        "a,b\n\u0661,2\n\u0662,4\n\u0663,5\n".encode(),
    ],
    ids=range(9),
)
def test_strange_tables_are_refused_in_one_line(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_bytes(content)
    refused_or_right("data.csv", Reading())


def test_names_of_files_may_hold_anything(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (b"two\nlines.npy", b"\xff.npy", b"\x1b[31m.npy"):
        Path(os.fsdecode(name)).write_bytes(npy(GREY[:, 0]))
        with pytest.raises(DataError) as caught:
            open_data(os.fsdecode(name))
        assert str(caught.value).isprintable()
        Path(os.fsdecode(name)).write_bytes(npy(GREY))
        opened = open_data(os.fsdecode(name), Reading(levels=256))
        assert all(map(str.isprintable, opened.lines()))
        record = opened.record
        assert record["source"].encode()
