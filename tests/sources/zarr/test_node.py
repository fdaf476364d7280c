"""Metadata of arrays and groups: both versions, consolidated, listed, broken; requests counted."""

from __future__ import annotations

import json
import pickle
from contextlib import nullcontext
from pathlib import Path

import pytest
import zarr

from helpers.stores import CountingStore
from napari_lazyload.core.errors import ChunkReadError, SourceOpenError
from napari_lazyload.sources.zarr.node import read_node, read_nodes
from napari_lazyload.sources.zarr.open_store import open_store
from napari_lazyload.sources.zarr.store import AccessDeniedError, LocalStore


class Elsewhere(CountingStore):
    """A folder that counts as a server: it lists nothing, and denies what a test says."""

    def __init__(self, root, denied=(), *, deny_missing=False, anonymous=True):
        super().__init__(LocalStore(str(root)))
        self.is_local, self.anonymous = False, anonymous
        self.denied_keys, self.deny_missing = set(denied), deny_missing

    def outcomes(self, keys):
        found = super().outcomes(keys)
        error = AccessDeniedError("access denied", "there")
        return {
            key: error if key in self.denied_keys or (data is None and self.deny_missing) else data
            for key, data in found.items()
        }

    def list_dir(self, prefix):
        return None


@pytest.fixture(params=[2, 3])
def group(tmp_path, request):
    """A group with an array and a group that has an array; consolidated."""
    root = zarr.open_group(
        tmp_path / "a.zarr", mode="w", zarr_format=request.param, attributes={"name": "root"}
    )
    root.create_array(
        "image", shape=(4, 5), chunks=(2, 2), dtype="uint8", attributes={"of": "image"}
    )
    labels = root.create_group("labels", attributes={"labels": ["cells"]})
    labels.create_array("cells", shape=(4, 5), chunks=(2, 2), dtype="uint8")
    with pytest.warns() if request.param == 3 else nullcontext():
        zarr.consolidate_metadata(root.store)
    return str(tmp_path / "a.zarr")


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, (str, bytes)) else json.dumps(content)
        data = text if isinstance(text, bytes) else text.encode()
        (folder / {"json": "zarr.json"}.get(name, f".{name}")).write_bytes(data)
    return open_store(str(folder))


def test_a_group_tells_what_it_is_and_what_is_in_it(group):
    root = read_node(open_store(group))

    assert (root.kind, root.path, root.attributes) == ("group", "", {"name": "root"})
    assert root.metadata["zarr_format"] == root.zarr_format
    assert root.children() == ("image", "labels")
    image = root.child("image")
    assert (image.kind, image.path, image.attributes) == ("array", "image", {"of": "image"})
    assert image.metadata["shape"] == [4, 5]
    assert root.child("labels").children() == ("cells",)
    assert (
        root.child("labels/cells").path
        == root.child("labels").child("cells").path
        == "labels/cells"
    )
    assert root.child("nothing") is None


def test_consolidated_metadata_of_a_server_cost_one_round_trip_for_everything(group):
    store = Elsewhere(group)

    root = read_node(store)
    assert store.rounds == 1
    assert root.children() == ("image", "labels")
    assert root.child("labels").child("cells").metadata["shape"] == [4, 5]
    assert root.child("image").attributes == {"of": "image"}
    assert root.child("labels").attributes == {"labels": ["cells"]}
    assert store.rounds == 1


def test_what_consolidated_metadata_lack_is_asked_for(group):
    zarr.open_group(group, use_consolidated=False).create_array("late", shape=(1,), dtype="uint8")
    store = Elsewhere(group)
    root = read_node(store)

    assert root.child("late").kind == "array"
    assert store.rounds == 2


def test_a_folder_is_asked_for_the_files_themselves_which_cannot_be_out_of_date(group):
    zarr.open_group(group, use_consolidated=False)["image"].resize((9, 5))

    assert read_node(open_store(group)).child("image").metadata["shape"] == [9, 5]
    assert read_node(Elsewhere(group)).child("image").metadata["shape"] == [4, 5]


def test_a_folder_whose_files_are_gone_is_known_by_its_consolidated_metadata(group, tmp_path):
    (tmp_path / "a.zarr" / "image").rename(tmp_path / "elsewhere")

    assert read_node(open_store(group)).child("image").metadata["shape"] == [4, 5]


def test_many_children_cost_one_round_trip_and_broken_ones_are_told_of(group, tmp_path):
    write(tmp_path / "a.zarr" / "broken", json="{", zarray="{")
    store = Elsewhere(group)
    root = read_node(store)

    found = root.nodes(["broken", "image", "nothing", "labels/cells"])

    assert isinstance(found["broken"], SourceOpenError)
    assert (found["image"].kind, found["labels/cells"].kind) == ("array", "array")
    assert found["nothing"] is None
    assert store.rounds == 2
    with pytest.raises(SourceOpenError, match="broken/"):
        root.child("broken")


def test_a_server_without_listing_or_consolidated_metadata_does_not_tell_children(group, tmp_path):
    store = Elsewhere(write(tmp_path / "b.zarr", zgroup={"zarr_format": 2}).root)

    assert read_node(store).children() is None


def test_one_node_costs_one_round_trip_of_five_files_and_a_child_fewer(tmp_path):
    write(tmp_path / "image", json={"zarr_format": 3, "node_type": "group"})
    store = Elsewhere(write(tmp_path, json={"zarr_format": 3, "node_type": "group"}).root)

    root = read_node(store)
    assert (store.rounds, len(store.calls)) == (1, 5)
    root.child("image")
    assert store.calls[5:] == [("get", "image/zarr.json")]


def test_names_may_go_up_but_not_out(group):
    root = read_node(open_store(group))
    labels = root.child("labels")

    assert labels.join("../image") == "image"
    assert labels.join("./cells/") == "labels/cells"
    assert labels.join("../../../x") == "../../x"
    assert root.join("") == ""
    assert root.join("image..old") == "image..old"
    with pytest.raises(SourceOpenError, match="no place within a Zarr store"):
        labels.child("../../a.zarr")


def test_nodes_pickle(group):
    root = read_node(open_store(group))

    again = pickle.loads(pickle.dumps(root))
    assert again == root
    assert again.child("labels/cells").kind == "array"


def test_version_3_counts_where_there_are_both(tmp_path):
    store = write(
        tmp_path, json={"zarr_format": 3, "node_type": "group"}, zgroup={"zarr_format": 2}
    )

    assert read_node(store).zarr_format == 3


def test_a_folder_with_attributes_alone_is_a_group_and_an_empty_one_nothing(tmp_path):
    assert read_node(write(tmp_path / "a", zattrs={"multiscales": []})).kind == "group"
    assert read_node(write(tmp_path / "b")) is None
    assert read_node(write(tmp_path / "c", zmetadata={"metadata": {}})) is None


KNOWN = {
    "metadata": {
        ".zgroup": {"zarr_format": 2},
        ".zattrs": {"name": "root"},
        "image/.zarray": {"zarr_format": 2, "shape": [4]},
        "image/.zattrs": {"of": "image"},
    }
}


@pytest.mark.parametrize(
    "there", [{}, {"zgroup": {"zarr_format": 2}}, {"zattrs": {"name": "newer"}}]
)
def test_files_that_were_lost_are_made_up_for_by_consolidated_metadata(tmp_path, there):
    root = read_node(write(tmp_path, zmetadata=KNOWN, **there))
    assert (root.kind, root.attributes) == ("group", there.get("zattrs", {"name": "root"}))
    assert (root.child("image").kind, root.child("image").attributes) == ("array", {"of": "image"})
    write(tmp_path / "image", zattrs={"of": "newer"})
    assert (root.child("image").kind, root.child("image").attributes) == ("array", {"of": "newer"})


def test_a_folder_that_says_that_it_is_a_group_is_one_whatever_consolidated_metadata_say(tmp_path):
    write(tmp_path / "image", zgroup={"zarr_format": 2})
    assert read_node(write(tmp_path, zmetadata=KNOWN)).child("image").kind == "group"


def test_metadata_with_a_byte_order_mark_and_not_a_number_are_taken(tmp_path):
    store = write(
        tmp_path, zgroup=b'\xef\xbb\xbf{"zarr_format": 2}', zattrs='{"a": NaN, "b": -Infinity}'
    )

    assert read_node(store).attributes["b"] == float("-inf")


BROKEN = {
    "empty": ({"json": ""}, r"zarr\.json: expected JSON, found ''"),
    "cut short": ({"zgroup": '{"zarr_format": 2'}, r"\.zgroup: expected JSON"),
    "not text": ({"zarray": b"\xff\xfe\x00"}, r"\.zarray: expected JSON"),
    "a web page": (
        {"json": "<!DOCTYPE html>"},
        r"zarr\.json: expected JSON, found '<!DOCTYPE html>'",
    ),
    "git": (
        {"json": "version https://git-lfs.github.com/spec/v1"},
        "pointer of Git LFS: fetch the files",
    ),
    "a list": ({"json": "[1]"}, "expected a JSON object with names and values, found list"),
    "attributes": ({"zgroup": {"zarr_format": 2}, "zattrs": "{"}, r"\.zattrs: expected JSON"),
    "attributes of 3": (
        {"json": {"zarr_format": 3, "node_type": "group", "attributes": [1]}},
        "expected attributes",
    ),
    "version 1": (
        {"zarray": {"zarr_format": 1}},
        'expected Zarr version 2, found "zarr_format": 1',
    ),
    "version 4": (
        {"json": {"zarr_format": 4, "node_type": "group"}},
        'expected Zarr version 3, found "zarr_format": 4',
    ),
    "no version": ({"json": {"node_type": "group"}}, 'found "zarr_format": None'),
    "no kind": (
        {"json": {"zarr_format": 3}},
        'expected "node_type": "array" or "group", found None',
    ),
    "deep": ({"json": "[" * 100_000}, r"zarr\.json: expected JSON"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_metadata_are_named_with_what_is_wrong(tmp_path, case):
    files, message = BROKEN[case]

    with pytest.raises(SourceOpenError, match=message) as caught:
        read_node(write(tmp_path, **files))
    assert str(tmp_path) in caught.value.path


@pytest.mark.parametrize(
    "listed",
    [
        None,
        [],
        {"metadata": None},
        {
            "metadata": {
                "x": 1,
                "../out": {"zarr_format": 3, "node_type": "group"},
                "ok": {"zarr_format": 3},
                "": {},
            }
        },
    ],
)
def test_strange_consolidated_metadata_of_version_3_are_left_aside(tmp_path, listed):
    root = {"zarr_format": 3, "node_type": "group", "consolidated_metadata": listed}

    assert read_node(write(tmp_path, json=root)).consolidated == {}


def test_strange_consolidated_metadata_of_version_2_are_left_aside(tmp_path):
    known = {
        "../out/.zarray": {"zarr_format": 2},
        "x/.zarray": [],
        "y": {},
        "z/.zarray": {"zarr_format": 7},
    }
    store = write(
        tmp_path,
        zgroup={"zarr_format": 2},
        zmetadata={"metadata": {**known, ".zgroup": {"zarr_format": 2}}},
    )

    assert read_node(store).consolidated == {}


@pytest.mark.parametrize("listed", ["{", "[]", "", "null"])
def test_broken_consolidated_metadata_do_not_keep_a_group_from_opening(tmp_path, listed):
    store = write(tmp_path, zgroup={"zarr_format": 2}, zattrs={"a": 1}, zmetadata=listed)

    root = read_node(store)
    assert (root.attributes, root.consolidated) == ({"a": 1}, {})


def test_consolidated_metadata_that_are_denied_do_not_matter(tmp_path):
    write(tmp_path, zgroup={"zarr_format": 2}, zattrs={"a": 1})

    assert read_node(Elsewhere(tmp_path, denied=[".zmetadata"], anonymous=False)).attributes == {
        "a": 1
    }


def test_what_is_known_of_a_server_or_its_nodes_is_handed_down(group):
    labels = read_node(Elsewhere(group, deny_missing=True)).child("labels")
    assert labels.child("nothing") is None

    folder = Path(group) / "labels" / "cells"
    for path in folder.iterdir():
        path.unlink()
    assert read_node(open_store(group)).child("labels").child("cells").kind == "array"


def test_a_denied_file_is_an_error_where_the_server_tells_what_is_not_there(group):
    name = ".zattrs" if read_node(open_store(group)).zarr_format == 2 else "zarr.json"

    with pytest.raises(SourceOpenError, match="access denied"):
        read_node(Elsewhere(group, denied=[name]))


def test_a_user_who_is_denied_all_that_is_not_there_reads_what_is(tmp_path):
    zarr.create_group(tmp_path / "v3", zarr_format=3, attributes={"a": 1})
    zarr.create_group(tmp_path / "v2", zarr_format=2, attributes={"a": 1})

    for name in ("v2", "v3"):
        assert read_node(Elsewhere(tmp_path / name, deny_missing=True)).attributes == {"a": 1}
        signed = Elsewhere(tmp_path / name, deny_missing=True, anonymous=False)
        assert read_node(signed).attributes == {"a": 1}
        with pytest.raises(SourceOpenError, match="access denied"):
            read_node(Elsewhere(tmp_path / "nowhere", deny_missing=True))


@pytest.mark.parametrize("version", [2, 3])
def test_what_such_a_server_denies_below_counts_as_not_there(tmp_path, version):
    root = zarr.create_group(tmp_path / "a", zarr_format=version)
    root.create_group("sub").create_array("image", shape=(1,), dtype="uint8")

    root = read_node(Elsewhere(tmp_path / "a", deny_missing=True))
    assert root.child("labels") is None
    assert root.child("sub").child("labels") is None
    assert root.child("sub").child("image").kind == "array"
    strict = read_node(Elsewhere(tmp_path / "a", denied=["sub/zarr.json", "sub/.zgroup"]))
    with pytest.raises(SourceOpenError, match="access denied"):
        strict.child("sub")


def test_of_one_version_alone_are_asked_for_on_servers_but_for_labels(group):
    version = read_node(open_store(group)).zarr_format
    server = Elsewhere(group)
    read_nodes(server, ["image", "image/labels/a"], version)

    old = {".zarray", ".zgroup", ".zattrs", ".zmetadata"}
    asked = {path: set() for path in ("image", "image/labels/a")}
    for _, key in server.calls:
        path, _, name = key.rpartition("/")
        asked[path].add(name)
    assert asked == {
        "image": old if version == 2 else {"zarr.json"},
        "image/labels/a": old | {"zarr.json"},
    }
    # Local files cost no request.
    assert read_nodes(open_store(group), ["image"], 5 - version)["image"].zarr_format == version


@pytest.mark.parametrize("inside", [{}, {"attributes": {}}])
def test_a_stray_file_of_the_other_version_hides_nothing(tmp_path, inside):
    empty = {"zarr_format": 3, "node_type": "group", **inside}
    store = write(tmp_path / "a", json=empty, zgroup={"zarr_format": 2}, zattrs={"name": "old"})
    assert read_node(store).attributes == {"name": "old"}
    told = {**empty, "attributes": {"name": "new"}}
    store = write(tmp_path / "b", json=told, zgroup={"zarr_format": 2}, zattrs={"name": "old"})
    assert read_node(store).attributes == {"name": "new"}
    store = write(tmp_path / "c", json=empty, zarray={"zarr_format": 2, "shape": [2]})
    assert read_node(store).kind == "array"
    store = write(tmp_path / "d", json="<html>", zgroup={"zarr_format": 2}, zattrs={"name": "old"})
    assert read_node(store).attributes == {"name": "old"}
    with pytest.raises(SourceOpenError, match="expected JSON"):
        read_node(write(tmp_path / "e", json="<html>", zgroup={"zarr_format": 2}))


def test_a_folder_that_cannot_be_listed_is_an_error(group, monkeypatch):
    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    root = read_node(open_store(group))
    with monkeypatch.context() as patch:
        patch.setattr("os.listdir", refuse)
        with pytest.raises(SourceOpenError, match="cannot be read"):
            root.children()


def test_errors_of_single_files_stand_in_their_place_and_pickle(group):
    found = read_nodes(open_store(group), ["../out", "image"])

    assert isinstance(found["../out"], SourceOpenError)
    assert isinstance(found["../out"].__cause__, ChunkReadError)
    assert str(pickle.loads(pickle.dumps(found["../out"]))) == str(found["../out"])
