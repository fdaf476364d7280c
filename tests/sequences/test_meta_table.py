"""Tables joined by file name: what is found, what is refused, and that nothing is unpickled."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pandas as pd
import pytest

from helpers.pictures import COUNT, PIXELS, write_png
from napari_lazyload.core.errors import (
    LazyLoadWarning,
    MissingDependencyError,
    SourceOpenError,
    UnknownFormatError,
)
from napari_lazyload.sequences.reading import read_images


class TestMeta:
    @pytest.fixture
    def table(self, names):
        order = np.random.default_rng(2).permutation(COUNT)
        return pd.DataFrame({"file": np.array(names)[order], "label": order, "kind": "cell"})

    def labels(self, seq):
        return seq.meta["label"].tolist()

    def test_a_frame_is_joined_by_name(self, folder, table):
        seq = read_images(folder, meta=table)
        assert self.labels(seq) == list(range(COUNT))
        assert seq.meta.columns.tolist() == ["original_filename", "file", "label", "kind"]
        assert seq.meta["label"].dtype == table["label"].dtype
        assert seq[4].meta["label"] == 4

    def test_a_mapping(self, folder, table):
        assert self.labels(read_images(folder, meta=table.to_dict("list"))) == list(range(COUNT))

    def test_an_index_of_names(self, folder, table):
        for index in ("file", None):
            seq = read_images(folder, meta=table.set_index("file").rename_axis(index))
            assert self.labels(seq) == list(range(COUNT))

    @pytest.mark.parametrize("form", ["csv", "tsv", "json", "json columns", "json by name", "xlsx"])
    def test_files(self, folder, table, tmp_path, form):
        path = tmp_path / f"meta.{form.split()[0].upper()}"
        if form == "csv":
            table.to_csv(path, index=False)
        elif form == "tsv":
            table.to_csv(path, index=False, sep="\t")
        elif form == "json":
            path.write_text(table.to_json(orient="records"))
        elif form == "json columns":
            table.to_json(path)
        elif form == "json by name":
            path.write_text(table.set_index("file").to_json(orient="index"))
        else:
            pytest.importorskip("openpyxl")
            table.to_excel(tmp_path / "meta.xlsx", index=False)
            path = tmp_path / "meta.xlsx"
        assert self.labels(read_images(folder, meta=path)) == list(range(COUNT))
        assert self.labels(read_images(folder, meta=str(path))) == list(range(COUNT))

    def test_the_column_that_names_most_files_is_joined_by(self, folder, names):
        table = pd.DataFrame(
            {
                "original_filename": ["x.png"] * 11 + ["img0.png"],
                "source": names,
                "label": range(COUNT),
            }
        )
        seq = read_images(folder, meta=table)
        assert self.labels(seq) == list(range(COUNT))
        assert seq.meta["original_filename"].tolist() == names
        assert seq.meta["original_filename_meta"].tolist() == table["original_filename"].tolist()

    def test_of_equal_columns_the_usual_name_is(self, folder, names):
        table = pd.DataFrame({"other": names[::-1], "File Name": names, "label": range(COUNT)})
        assert self.labels(read_images(folder, meta=table)) == list(range(COUNT))

    def test_relative_absolute_and_windows_paths(self, tmp_path):
        files = ["a/1.png", "a/2.png", "b/1.png"]
        for name in files:
            write_png(tmp_path / name, PIXELS[0])
        for form in (
            files,
            [f"./{n}" for n in files],
            [n.replace("/", "\\") for n in files],
            [tmp_path / n for n in files],
        ):
            seq = read_images(tmp_path, meta=pd.DataFrame({"path": form, "label": [1, 2, 3]}))
            assert self.labels(seq) == [1, 2, 3]

    def test_base_names_in_other_folders(self, folder, names):
        table = pd.DataFrame(
            {"path": [f"D:\\export\\{name}" for name in names], "label": range(COUNT)}
        )
        assert self.labels(read_images(folder, meta=table)) == list(range(COUNT))

    def test_unicode_forms_are_equal(self, tmp_path):
        write_png(tmp_path / "a\u0308.png", PIXELS[0])
        assert self.labels(read_images(tmp_path, meta={"file": ["\u00e4.png"], "label": [3]})) == [
            3
        ]

    def test_files_without_a_row_are_counted_in_a_warning(self, folder, table):
        with pytest.warns(LazyLoadWarning, match="no row for 2 of 12 files") as caught:
            seq = read_images(folder, meta=table[~table["label"].isin([3, 4])])
        assert caught[0].filename == __file__
        assert seq.meta["label"].isna().tolist() == [number in (3, 4) for number in range(COUNT)]

    def test_rows_without_a_file_are_no_matter(self, folder, table):
        more = pd.concat([table, pd.DataFrame({"file": ["gone.png"] * 2, "label": [-1, -2]})])
        assert self.labels(read_images(folder, meta=more)) == list(range(COUNT))

    def test_only_the_files_within_the_limit_count(self, folder, table):
        seq = read_images(folder, limit=3, meta=table[table["label"] < 3])
        assert self.labels(seq) == [0, 1, 2]
        assert self.labels(read_images(folder, limit=3, meta={"label": range(COUNT)})) == [0, 1, 2]

    def test_a_file_named_twice(self, folder, table):
        with pytest.raises(ValueError, match=r"more than one row for 'img5\.png' in column 'file'"):
            read_images(folder, meta=pd.concat([table, table[table["label"] == 5]]))

    def test_a_base_name_that_two_folders_have(self, tmp_path):
        for name in ("a/1.png", "b/1.png"):
            write_png(tmp_path / name, PIXELS[0])
        with pytest.raises(
            ValueError, match=r"'1\.png', which is 'a/1\.png' and 'b/1\.png'; give paths"
        ):
            read_images(tmp_path, meta={"file": ["1.png"], "label": [1]})

    def test_a_file_listed_twice_has_one_row(self, folder):
        path = folder / "img1.png"
        seq = read_images([path, path], meta={"file": ["img1.png"], "label": [7]})
        assert self.labels(seq) == [7, 7]

    def test_columns_without_names_go_row_by_row(self, folder):
        assert self.labels(read_images(folder, meta={"label": range(COUNT)})) == list(range(COUNT))
        with pytest.raises(
            ValueError,
            match="no column of the meta table holds the file names: 12 files such as 'img0",
        ):
            read_images(folder, meta={"label": range(3)})

    def test_a_file_without_names_is_never_taken_row_by_row(self, folder, tmp_path):
        pd.DataFrame({"label": range(COUNT)}).to_csv(tmp_path / "meta.csv", index=False)
        with pytest.raises(ValueError, match="no column of the meta table holds the file names"):
            read_images(folder, meta=tmp_path / "meta.csv")

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            *(("a.csv", b""), ("a.csv", b"\xff\xfe\x00\x01"), ("a.csv", b'a,b\n1,2,3\n1,2,3,4\n"')),
            *(
                ("a.json", b"{"),
                ("a.json", b'{"exposure": 5, "lens": {"na": 1}}'),
                ("a.json", b"[1, 2]"),
            ),
            *(("a.json", b'{"a": [1], "b": [1, 2]}'), ("a.json", b"\xff\xfe")),
            *(("a.xlsx", b"no workbook"), ("a.tsv", b"")),
        ],
    )
    def test_a_file_that_is_no_table(self, folder, tmp_path, name, content):
        if name.endswith("xlsx"):
            pytest.importorskip("openpyxl")
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(
            UnknownFormatError,
            match=f"expected a {path.suffix[1:].upper()} table, found something else",
        ):
            read_images(folder, meta=path)

    @pytest.mark.parametrize("name", ["table.pkl", "table.pickle", "table.npy", "table"])
    def test_nothing_is_unpickled(self, folder, tmp_path, name):
        class Bomb:
            def __reduce__(self):
                return (os.mkdir, (str(tmp_path / "unpickled"),))

        (tmp_path / name).write_bytes(pickle.dumps(Bomb()))
        with pytest.raises(
            UnknownFormatError, match=r"a meta table is a \.csv, \.tsv, \.json or \.xlsx file"
        ):
            read_images(folder, meta=tmp_path / name)
        assert not (tmp_path / "unpickled").exists()

    def test_a_table_that_is_not_there(self, folder, tmp_path):
        with pytest.raises(SourceOpenError, match=r"gone\.csv cannot be read"):
            read_images(folder, meta=tmp_path / "gone.csv")

    def test_xlsx_without_openpyxl_names_the_extra(self, folder, tmp_path, monkeypatch):
        (tmp_path / "meta.xlsx").write_bytes(b"PK\x03\x04")
        monkeypatch.setattr(
            pd, "read_excel", lambda _: (_ for _ in ()).throw(ImportError("Missing openpyxl"))
        )
        with pytest.raises(MissingDependencyError, match=r"napari-lazyload\[xlsx\]"):
            read_images(folder, meta=tmp_path / "meta.xlsx")

    def test_bad_tables(self, folder, names):
        with pytest.raises(
            TypeError, match="a DataFrame, a mapping of columns, or a path, got int"
        ):
            read_images(folder, meta=3)
        with pytest.raises(ValueError, match="columns of equal length"):
            read_images(folder, meta={"a": [1], "b": [1, 2]})
        with pytest.raises(ValueError, match="more than one column 'a'"):
            read_images(folder, meta=pd.DataFrame([[1, 2]] * COUNT, columns=["a", "a"]))

    def test_the_table_that_was_given_stays_as_it_was(self, folder, table):
        before = table.copy()
        seq = read_images(folder, meta=table, common_meta={"plate": 1})
        table["label"] = 0
        assert self.labels(seq) == list(range(COUNT))
        assert before.columns.tolist() == table.columns.tolist()

    def test_common_meta(self, folder, table):
        seq = read_images(
            folder, meta=table, common_meta={"plate": "P1", "size": (0.5, 0.5), "dose": None}
        )
        assert set(seq.meta["plate"]) == {"P1"}
        assert seq[3].meta["size"] == (0.5, 0.5)
        assert seq.meta["dose"].isna().all()
        assert pickle.loads(pickle.dumps(seq))[0].meta["size"] == (0.5, 0.5)

    def test_bad_common_meta(self, folder, table):
        with pytest.raises(
            ValueError, match="common_meta has a column 'label' that the meta table has too"
        ):
            read_images(folder, meta=table, common_meta={"label": 1})
        with pytest.raises(TypeError, match="common_meta must be a mapping"):
            read_images(folder, common_meta=[1])

    def test_json_keeps_names_that_look_like_numbers(self, tmp_path):
        for name in ("001.png", "1.png"):
            write_png(tmp_path / name, PIXELS[0])
        (tmp_path / "meta.json").write_text(
            json.dumps([{"id": "001", "file": "001.png"}, {"id": "1", "file": "1.png"}])
        )
        seq = read_images(tmp_path, meta=tmp_path / "meta.json")
        assert dict(zip(seq.meta["original_filename"], seq.meta["id"], strict=True)) == {
            "001.png": "001",
            "1.png": "1",
        }
