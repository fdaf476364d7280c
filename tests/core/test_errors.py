"""The package's errors are built-ins too, say what they got, and survive pickling and copying."""

from __future__ import annotations

import copy
import pickle

import pytest

from napari_lazyload.core import errors

BUILT_IN = {
    "SourceOpenError": OSError,
    "UnknownFormatError": ValueError,
    "MissingDependencyError": ImportError,
    "ChunkReadError": OSError,
    "ExportError": OSError,
    "RegionError": ValueError,
    "CancelledError": RuntimeError,
    "LazyLoadError": Exception,
    "LazyLoadWarning": UserWarning,
}


def test_the_list_is_whole():
    assert set(errors.__all__) == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_an_error_is_a_built_in(name):
    kind = getattr(errors, name)
    assert issubclass(kind, BUILT_IN[name])
    assert issubclass(kind, errors.LazyLoadError) != (name == "LazyLoadWarning")


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))]
)
@pytest.mark.parametrize("name", BUILT_IN)
def test_an_error_survives_a_copy_and_another_process(name, again):
    kind = getattr(errors, name)
    path = (
        {"path": "/data/a.png"}
        if issubclass(kind, (errors.SourceOpenError, errors.ChunkReadError, errors.ExportError))
        else {}
    )
    error = kind("/data/a.png: expected a picture, found text. Remove it", **path)
    copied = again(error)
    assert type(copied) is kind
    assert str(copied) == str(error) == "/data/a.png: expected a picture, found text. Remove it"
    assert vars(copied) == vars(error)
