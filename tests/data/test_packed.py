"""Packed arrays in netCDF-4, HDF5 and zarr, against the formulas of CF, the packages netCDF4 and xarray."""

from __future__ import annotations

import math
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import portable_nn as pnn
from portable_nn.core.errors import DataError, UsageError
from portable_nn.data import stored
from portable_nn.data.stored_files import open_stored
from portable_nn.plain import open_tensors
from portable_nn.plain.packing import meaning_of, packing_of
from portable_nn.recipes.arrays import train_arrays

NAME = "data_20/ku/power_waveform"
COUNTS = np.random.default_rng(0).integers(-30_000, 30_000, (103, 6)).astype(np.int16)
COUNTS[5, 2] = -32768
TRUE = np.where(COUNTS == -32768, np.nan, COUNTS * 0.5 + 3).astype(np.float32)  # Exact: the factor is a power of 2.
ATTRIBUTES: dict[str, Any] = {
    "scale_factor": np.float32([0.5]),
    "add_offset": np.float32([3]),
    "_FillValue": np.int16([-32768]),
    "units": np.bytes_("count"),
    "flag_values": np.int8([0, 1]),
}


def netcdf(path: Path, data: Any = COUNTS, attributes: dict[str, Any] = ATTRIBUTES, name: str = NAME) -> Path:
    """A file as the library of netCDF lays it out: dimensions are data sets of their own."""
    with h5py.File(path, "w", track_order=True) as file:
        packed = file.create_dataset(name, data=data, chunks=(10, *data.shape[1:]), shuffle=True, compression="gzip")
        for axis, size in enumerate(data.shape):
            scale = file.create_dataset(f"axis{axis}", (size,), ">f4")
            scale.make_scale(f"This is a netCDF dimension but not a netCDF variable.{size:10}")
            packed.dims[axis].attach_scale(scale)
        packed.attrs.update(attributes)
        file["other"] = np.arange(len(data), dtype=np.int32)
    return path


@pytest.mark.parametrize("size", [0, stored.WHOLE], ids=["in pieces", "whole"])
@pytest.mark.parametrize("suffix", [".nc", ".nc4", ".h5"])
def test_numbers_are_those_that_the_attributes_say(
    suffix: str, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "WHOLE", size)
    found = open_stored(netcdf(tmp_path / f"sgdr{suffix}"), [NAME])
    assert (found.dtype, found.shape, found.chunk) == (np.float32, (103, 6), 10)
    for part in (slice(0, 103), slice(3, 7), slice(95, None)):
        np.testing.assert_array_equal(found[part], TRUE[part])
    assert [each.partition(": ")[2] for each in found.notes] == [
        f"{NAME}: attributes that are not read: flag_values",
        "not read: other, axis0, axis1",
    ]
    beside = open_stored(tmp_path / f"sgdr{suffix}", [NAME], ["other"])
    assert beside.notes[-1].endswith(": not read: axis0, axis1")
    with open_tensors(tmp_path / f"sgdr{suffix}", in_pieces=True) as tensors:
        np.testing.assert_array_equal(tensors[NAME], TRUE)


def test_arrays_of_hdf5_that_are_not_packed_are_mapped_as_before(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, attributes in {
            "plain": {"units": "m"},
            "one": {"scale_factor": 1.0, "add_offset": 0.0},
            "no gap": {"_FillValue": np.float32(np.nan)},
        }.items():
            file[name] = TRUE
            file[name].attrs.update(attributes)
    with open_tensors(tmp_path / "x.h5", in_pieces=True) as tensors:
        for name in tensors:
            mapped = tensors.mapped(name)
            assert isinstance(mapped, np.memmap), name
            np.testing.assert_array_equal(mapped, TRUE)
    assert open_stored(tmp_path / "x.h5", ["plain"]).notes == ()


def by_hand(value: Any, dtype: np.dtype[Any], attributes: dict[str, Any]) -> float:
    """The number, one by one, in the words of the conventions."""
    sign = {b"true": "u", b"false": "i", None: dtype.kind}[attributes.get("_Unsigned")]
    seen = f"{sign}{dtype.itemsize}"
    value = np.array(value).view(seen).item()
    marks = [each for name in ("_FillValue", "missing_value") for each in np.atleast_1d(attributes.get(name, []))]
    if any(value == np.array(each, dtype).view(seen) for each in marks):
        return math.nan
    ends = [math.nan if name not in attributes else attributes[name].item() for name in ("valid_min", "valid_max")]
    if value < ends[0] or value > ends[1]:
        return math.nan
    return float(value * float(attributes.get("scale_factor", 1)) + float(attributes.get("add_offset", 0)))


@st.composite
def packed(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    kind = draw(st.sampled_from(["i1", "u1", "<i2", ">i2", "u2", "i4", ">f4", "f8"]))
    dtype = np.dtype(kind)
    data = draw(arrays.arrays(dtype, (draw(st.integers(1, 9)), 2), elements=st.integers(0, 100).map(dtype.type)))
    if dtype.kind == "i":
        data = data - np.array(50, dtype)
    number = st.sampled_from(data.ravel().tolist())
    scale = st.integers(-99, 99).filter(bool).map(lambda each: each / 64)
    found: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "scale_factor": scale.map(draw(st.sampled_from([np.float32, np.float64]))),
                "add_offset": st.integers(-99, 99).map(np.float64),
                "_FillValue": number.map(dtype.type),
                "missing_value": st.lists(number, min_size=1, max_size=3).map(lambda each: np.array(each, dtype)),
                "valid_min": st.just(data.min()),
                "valid_max": number.map(dtype.type),
            },
        )
    )
    if dtype.kind in "iu" and draw(st.booleans()):
        found["_Unsigned"] = draw(st.sampled_from([b"true", b"false"]))
        (
            found.pop("valid_min", None),
            found.pop("valid_max", None),
        )  # Bits that are in order may be numbers that are not.
    return data.astype(dtype), found


@settings(max_examples=60, deadline=None)
@given(packed())
def test_any_packed_array_is_unpacked_as_by_hand(given: tuple[np.ndarray, dict[str, Any]]) -> None:
    data, attributes = given
    words = {key: each.decode() if isinstance(each, bytes) else each for key, each in attributes.items()}
    found = packing_of(data.dtype, words, "x")
    numbers = data if found is None else found.unpacked(data, "x")
    native = data.astype(data.dtype.newbyteorder("="))
    wanted = [by_hand(each, native.dtype, attributes) for each in native.ravel()]
    kinds = [np.asarray(attributes[key]).dtype for key in ("scale_factor", "add_offset") if key in attributes]
    if (attributes.get("scale_factor", 1), attributes.get("add_offset", 0)) != (1, 0):
        assert numbers.dtype == np.result_type(*kinds)
    np.testing.assert_allclose(numbers.ravel(), wanted, rtol=1e-6, atol=1e-4 * np.finfo(np.float32).eps)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"scale_factor": 0.0}, r"has the scale_factor 0 and the add_offset 0: expected finite numbers"),
        ({"scale_factor": np.nan}, "has the scale_factor nan"),
        ({"add_offset": np.inf}, "the add_offset inf"),
        ({"scale_factor": np.ones(3)}, r"scale_factor array\(.*expected 1 number"),
        ({"scale_factor": np.ones(8000)}, "scale_factor 'of another kind or length': expected 1 number"),
        ({"scale_factor": np.ones(0)}, r"scale_factor array\(.*expected 1 number"),
        ({"scale_factor": np.bytes_("0.1")}, r"scale_factor '0\.1': expected 1 number"),
        ({"scale_factor": "0.1"}, "scale_factor 'text of variable length': expected 1 number"),
        ({"scale_factor": h5py.Empty("f4")}, "scale_factor 'of another kind or length'"),
        ({"scale_factor": 1 + 2j}, "scale_factor 'of another kind or length'"),
        ({"_FillValue": np.nan}, "_FillValue nan, which is none of the numbers that int16 can hold"),
        ({"_FillValue": 40_000}, "_FillValue 40000, which is none"),
        ({"_FillValue": 0.5}, r"_FillValue 0\.5, which is none"),
        ({"_FillValue": np.bytes_("NA")}, "_FillValue 'NA': expected 1 number"),
        ({"missing_value": np.zeros(101)}, "missing_value array.*expected 100 numbers"),
        ({"valid_range": np.int16([5, -5])}, "a valid range from 5 to -5, in which there is nothing"),
        ({"valid_min": np.int16(5), "valid_range": np.int16([0, 4])}, "a valid range from 5 to 4"),
        ({"valid_range": np.int16([5])}, r"valid_range \[5\]: expected two numbers"),
        ({"valid_max": np.nan}, r"valid_max \[nan\]: expected"),
        ({"scale_factor": 0.01, "valid_range": [0.0, 20.0]}, "before or after unpacking"),
        ({"_Unsigned": np.bytes_("yes")}, "_Unsigned 'yes': expected true or false"),
        ({"_Unsigned": "true"}, "_Unsigned 'text of variable length': expected true or false"),
    ],
)
def test_attributes_that_leave_the_numbers_unclear(attributes: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = netcdf(tmp_path / "x.nc", attributes={})
    with h5py.File(path, "a", libver="latest") as file:
        file[NAME].attrs.update(attributes)
    with pytest.raises(DataError, match=rf"x\.nc: {NAME}: .*{words}"):
        open_stored(path, [NAME])
    assert open_stored(path, ["other"])[:3].tolist() == [0, 1, 2]  # The others are read.


@pytest.mark.parametrize(
    ("attributes", "meaning", "unread"),
    [
        ({"units": np.bytes_("m")}, ("m", ()), []),
        ({"units": "m"}, ("", ()), ["units"]),  # Of variable length.
        ({"flag_values": np.array([], np.int8)}, ("", ()), []),
        ({"flag_values": np.int8([0, 2]), "flag_meanings": np.bytes_("sea land")}, ("", ("sea", "1", "land")), []),
        ({"flag_values": np.int8([0, 2]), "flag_meanings": "sea land"}, ("", ()), ["flag_meanings"]),
        ({"flag_values": np.int8([0, 0]), "flag_meanings": np.bytes_("sea land")}, ("", ()), []),
        ({"flag_values": np.int8([-1, 0]), "flag_meanings": np.bytes_("sea land")}, ("", ()), []),
        ({"flag_values": np.float32([0, 1]), "flag_meanings": np.bytes_("sea land")}, ("", ()), []),
    ],
)
def test_units_and_flags_are_read_where_they_say_what_numbers_mean(
    attributes: dict[str, Any], meaning: tuple[str, tuple[str, ...]], unread: list[str], tmp_path: Path
) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = np.int8([0, 1])
        file["x"].attrs.update(attributes)
    with open_tensors(tmp_path / "x.h5") as found:
        assert found.meaning("x") == (*meaning, tuple(unread))


@pytest.mark.parametrize("values", [[[0], [0, 1]], [0, "1"], [True, False], 7, {}, [10**30, 1]])
def test_flags_of_json_that_are_no_numbers_of_classes_name_none(values: Any) -> None:
    assert meaning_of({"flag_values": values, "flag_meanings": "sea land"}).labels == ()


def test_a_fill_value_of_another_type_is_the_number_that_it_is(tmp_path: Path) -> None:
    for fill in (-32768.0, np.int64(-32768), np.float32(-32768)):
        path = netcdf(tmp_path / "x.nc", attributes={**ATTRIBUTES, "_FillValue": fill})
        np.testing.assert_array_equal(open_stored(path, [NAME])[:], TRUE)
    bits = np.array([[1, 255], [200, 3]], np.uint8)
    for fill in (np.int8(-1), np.uint8(255), 255):
        attributes = {"_Unsigned": np.bytes_("true"), "_FillValue": fill}
        path = netcdf(tmp_path / "u.h5", np.tile(bits.view(np.int8), (5, 1)), attributes)
        np.testing.assert_array_equal(open_stored(path, [NAME])[:2], [[1, np.nan], [200, 3]])


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_numbers_that_their_type_cannot_hold_are_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    data, scale = np.array([[1, 2], [3, -32768]] * 5, np.int16), {".nc": np.float32(1e38), ".zarr": 1e304}[suffix]
    if suffix == ".zarr":
        group = pytest.importorskip("zarr").open_group(str(path), mode="w")
        group.create_array("x", data=data).attrs.update(scale_factor=scale, _FillValue=-32768)
        data[1, 0] = 30_000
        group["x"][...] = data
    else:
        data[1, 0] = 4
        netcdf(path, data, {"scale_factor": scale, "_FillValue": np.int16(-32768)}, "x")
    with pytest.raises(DataError, match=r"x: holds numbers that are too large for float(32|64) with the scale_factor"):
        open_stored(path, ["x"])[:]


def test_floats_of_netcdf_that_were_never_written_are_missing(tmp_path: Path) -> None:
    data = np.full((20, 2), np.float32(9.969209968386869e36))
    data[3] = 7
    for suffix, missing in ((".nc", True), (".h5", False)):
        found = open_stored(netcdf(tmp_path / f"x{suffix}", data, {}), [NAME])[:]
        assert np.isnan(found).sum() == 38 * missing
        assert (found[3] == 7).all()


@pytest.mark.parametrize("version", [1, 2, 5])
def test_classic_netcdf_is_told_apart(version: int, tmp_path: Path) -> None:
    (tmp_path / "old.nc").write_bytes(b"CDF" + bytes([version]) + bytes(60))
    with pytest.raises(DataError, match=r"old\.nc: is a netCDF-3 file: nccopy -k nc4 OLD NEW, .*NETCDF4"):
        open_stored(tmp_path / "old.nc", ["x"])


def test_memory_is_that_of_a_piece(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "large.nc", "w") as file:
        data = file.create_dataset("x", (2**20, 104), np.int16, chunks=(1024, 104))
        data[7] = 100
        data.attrs.update(ATTRIBUTES)
    found = open_stored(tmp_path / "large.nc", ["x"])
    tracemalloc.start()
    assert (found[0:1024][7] == 53).all()
    assert (found[2**20 - 1024 :] == 3).all()
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


def test_a_chunk_that_would_take_all_memory_once_unpacked_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTABLE_NN_MEMORY", "1M")
    with h5py.File(tmp_path / "x.nc", "w") as file:
        file.create_dataset("x", (2**19, 1), np.int8, chunks=(2**19, 1)).attrs["scale_factor"] = 0.5
    with pytest.raises(DataError, match=r"has chunks of which one, unpacked, takes 4\.2 MB of memory"):
        open_stored(tmp_path / "x.nc", ["x"])


def test_training_evaluation_and_prediction_take_packed_files(tmp_path: Path) -> None:
    path = netcdf(tmp_path / "packed.nc", np.where(COUNTS == -32768, 0, COUNTS).astype(np.int16))
    x = np.where(COUNTS == -32768, 3, TRUE).astype(np.float32)
    heights = np.random.default_rng(1).integers(0, 500, 103).astype(np.int16)
    with h5py.File(path, "a") as file:
        file["height"], file["kind"] = heights, (heights % 2).astype(np.int8)
        file["height"].attrs.update(scale_factor=0.5, _FillValue=np.int16(-1))
        file["kind"].attrs["_FillValue"] = np.int8(127)
    same = {"inputs": NAME, "progress": False, "epochs": 2, "seed": 3}
    found = train_arrays("6-4-auto", path, targets="height", **same)
    wanted = train_arrays("6-4-auto", {NAME: x, "height": heights * 0.5}, targets="height", **same)
    assert found.network.parameters.keys() == wanted.network.parameters.keys()
    for name, weights in found.network.parameters.items():
        np.testing.assert_allclose(weights, wanted.network.parameters[name], rtol=1e-5, atol=1e-6)
    assert any("flag_values" in note for note in found.notes)
    classes = train_arrays("6-4-auto", path, targets="kind", task="classes", **same)
    assert classes.network.labels == ("0", "1")

    answers = [each.values for each in pnn.predict(found.network, path, dataset=NAME)]
    np.testing.assert_allclose(answers, [each.values for each in pnn.predict(found.network, x)], rtol=1e-5)
    judged = pnn.evaluate(found.network, path, inputs=NAME, targets="height")
    assert judged.examples == 103
    error = np.asarray(answers).ravel() - heights * 0.5
    np.testing.assert_allclose(judged.numbers[0].rmse, np.sqrt((error**2).mean()), rtol=1e-4)
    accuracy = pnn.evaluate(classes.network, path, inputs=NAME, targets="kind").accuracy
    guessed = np.array([each.index for each in pnn.predict(classes.network, x)])
    assert accuracy == pytest.approx((guessed == heights % 2).mean())
    with h5py.File(path, "a") as file:
        file["kind"][4] = 127
    with pytest.raises(UsageError, match=r"classes are one array of whole numbers, and .*kind is float32"):
        train_arrays("6-4-auto", path, targets="kind", task="classes", **same)


def test_heights_of_packed_echoes_are_those_of_echoes(tmp_path: Path) -> None:
    echoes = np.load(Path(pnn.__file__).parents[1] / "models/altimetry_swh/samples/echoes.npy")
    counts = np.round(echoes / 2**-12).clip(0, 65_000).astype(np.uint16)
    packing = {"scale_factor": np.float32(2**-12), "_Unsigned": np.bytes_("true"), "_FillValue": np.int16(-1)}
    path = netcdf(tmp_path / "sgdr.nc", counts.view(np.int16), packing)
    wanted = [each.values for each in pnn.predict("altimetry-swh", counts * np.float32(2**-12))]
    np.testing.assert_array_equal([each.values for each in pnn.predict("altimetry-swh", path, dataset=NAME)], wanted)


# -- written by others


def written_by_netcdf4(path: Path) -> None:
    netcdf4 = pytest.importorskip("netCDF4")
    with netcdf4.Dataset(path, "w") as file:
        group = file.createGroup("data_20").createGroup("ku")
        group.createDimension("time", None)
        group.createDimension("gate", 6)
        for name, kind, options, attributes in (
            ("packed", "i2", {"fill_value": -32768}, {"scale_factor": 0.5, "add_offset": np.float64(3)}),
            ("unsigned", "i1", {"fill_value": -1}, {"_Unsigned": "true", "scale_factor": np.float32(0.25)}),
            ("bounded", "i4", {}, {"valid_range": np.int32([-20_000, 20_000]), "missing_value": np.int32(7)}),
            ("float", "f4", {}, {"valid_min": np.float32(-1)}),
            ("flags", "u1", {}, {"flag_values": np.uint8([0, 1])}),
        ):
            made = group.createVariable(name, kind, ("time", "gate"), zlib=True, chunksizes=(10, 6), **options)
            made.setncatts(attributes)
            made.set_auto_maskandscale(False)
            made[:] = (COUNTS % 200 if name == "flags" else COUNTS).astype(kind)


def test_files_of_netcdf4_hold_what_netcdf4_reads(tmp_path: Path) -> None:
    written_by_netcdf4(tmp_path / "x.nc")
    with pytest.importorskip("netCDF4").Dataset(tmp_path / "x.nc") as file:
        for name, theirs in file["data_20/ku"].variables.items():
            found = open_stored(tmp_path / "x.nc", [f"data_20/ku/{name}"])[:]
            masked = theirs[:]
            np.testing.assert_allclose(found, np.ma.filled(masked.astype(float), np.nan), rtol=1e-6, err_msg=name)
            assert (found.dtype == masked.dtype) == (name != "bounded")  # It has a mask, and no NaN.


@pytest.mark.parametrize("form", ["nc", "zarr 2", "zarr 3"])
def test_files_of_xarray_hold_what_xarray_reads(form: str, tmp_path: Path) -> None:
    xr = pytest.importorskip("xarray")
    names = {"packed": {"dtype": "i2", "scale_factor": 0.5, "add_offset": 3.0, "_FillValue": -32768}, "plain": {}}
    data = xr.Dataset({name: (("time", "gate"), TRUE.astype(np.float64)) for name in names})
    path = tmp_path / f"x.{form[:4].strip()}"
    if form == "nc":
        pytest.importorskip("netCDF4")
        data.to_netcdf(path, engine="netcdf4", encoding=names)
    else:
        pytest.importorskip("zarr")
        data.to_zarr(path, encoding=names, zarr_format=int(form[-1]), consolidated=False)
    for name in names:
        np.testing.assert_array_equal(open_stored(path, [name])[:], TRUE)


@pytest.mark.long
def test_damaged_files_are_refused_or_read(tmp_path: Path) -> None:
    path = netcdf(tmp_path / "x.nc", COUNTS[:20])
    data, changed, random = path.read_bytes(), 0, np.random.default_rng(0)
    for place in random.integers(0, len(data), 1500):
        path.write_bytes(data[:place] + bytes([random.integers(256)]) + data[place + 1 :])
        with suppress(DataError):
            found = open_stored(path, [NAME])
            assert len(found[: min(20, len(found))]) == min(20, len(found))
            changed += 1
    assert 0 < changed < 1500
