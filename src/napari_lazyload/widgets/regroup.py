"""Open a dataset again with one layer for each shape and type, in a worker thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error

from napari_lazyload.core.errors import LazyLoadError
from napari_lazyload.core.text import plain_text
from napari_lazyload.loading import scheduler
from napari_lazyload.loading.jobs import Tier
from napari_lazyload.widgets.attach import dataset_of
from napari_lazyload.widgets.qt.main_thread import post_to_main

if TYPE_CHECKING:
    from napari_lazyload.dataset.dataset import Dataset


def regroup(viewer: Any, dataset: Dataset) -> None:
    """Read all headers of a dataset's folder, then put the new layers in place of the old ones.

    Parameters
    ----------
    viewer : napari.Viewer
        Where the layers are.
    dataset : Dataset
        What to open again.
    """

    def read(_job: Any) -> None:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that there are groups is what the user asked for
            try:
                fresh = dataset.reopen(headers="all")
            except LazyLoadError as err:
                message = str(err)
                post_to_main(lambda: show_error(plain_text(message)))
                return
        post_to_main(lambda: _replace(viewer, dataset, fresh))

    scheduler.shared.submit(read, tier=Tier.PREFETCH)


def _replace(viewer: Any, old: Dataset, new: Dataset) -> None:
    from napari.layers import Layer

    for layer in [layer for layer in viewer.layers if dataset_of(layer) is old]:
        viewer.layers.remove(layer)
    for data in new.to_layer_data():
        viewer.add_layer(Layer.create(*data))
