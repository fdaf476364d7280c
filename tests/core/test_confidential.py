"""Addresses and options as they may be shown to anybody."""

from __future__ import annotations

import pytest

from napari_lazyload.core.confidential import public_address, public_options

ADDRESSES = {
    "C:/data/a.zarr": ("C:/data/a.zarr", []),
    "https://host/a.zarr": ("https://host/a.zarr", []),
    "https://me:word@host:8/a.zarr": ("https://host:8/a.zarr", ["login"]),
    "https://word@host/a.zarr": ("https://host/a.zarr", ["login"]),
    "https://host/a.zarr?X-Amz-Signature=word": ("https://host/a.zarr", ["query"]),
    "https://host/a.zarr#word": ("https://host/a.zarr", ["fragment"]),
    "s3://key:word@bucket/a.zarr": ("s3://bucket/a.zarr", ["login"]),
    "abfss://box@account.host/a.zarr": ("abfss://box@account.host/a.zarr", []),
    "https://[word/a.zarr": ("https://...", ["address"]),
}


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_without_its_secrets(address):
    assert public_address(address) == ADDRESSES[address]


def test_only_options_that_are_known_to_be_harmless_are_shown():
    options = {"region": "eu-1", "headers": {"a": "word"}, "secret_access_key": "word", "sas": "w"}
    shown = {"region": "eu-1"}, ["headers", "secret_access_key", "sas"]
    assert public_options(options) == shown
