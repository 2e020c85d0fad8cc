"""`edgehff data`: which data sets there are, and what is in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edgehff.cli.output import Output, common_options, pass_output

if TYPE_CHECKING:
    from edgehff.data.dataset import Dataset


@click.group()
def data() -> None:
    """List and inspect data sets.

    Named ones come with the package, from the folder EDGEHFF_DATA, from a system package or from a download
    with a checksum; your own are a .npz with X and y, a .csv, a folder of class folders, or IDX files.
    """


@data.command("list")
@common_options
@pass_output
def list_(output: Output) -> None:
    """List the named data sets, and where each lies."""
    from edgehff.data.catalog import SOURCES
    from edgehff.data.sources import locate

    entries = []
    for source in SOURCES.values():
        path = locate(source.name)
        entries.append(
            {
                "name": source.name,
                "title": source.title,
                "samples": source.samples,
                "test_samples": source.test_samples,
                "shape": source.shape,
                "classes": len(source.class_names),
                "license": source.license,
                "source": source.source,
                "citation": source.citation,
                "obtained": source.obtained,
                "path": path,
            }
        )
    if output.json:
        output.print_document({"datasets": entries})
        return
    output.table(
        "Data sets",
        ("name", "what", "samples", "classes", "where"),
        [
            (e["name"], e["title"], e["samples"], e["classes"], e["obtained"] if _remote(e) else "here")
            for e in entries
        ],
    )
    output.say("edgehff data show NAME|PATH says more of one")


@data.command()
@click.argument("name", metavar="NAME|PATH")
@common_options
@pass_output
def show(output: Output, name: str) -> None:
    """Show shape, classes, groups, test rows and license of a data set."""
    from edgehff.data.catalog import SOURCES
    from edgehff.data.sources import load

    document = summary(load(name, notice=output.say))
    source = SOURCES.get(name)
    if source is not None:
        document |= {"license": source.license, "source": source.source, "citation": source.citation}
    if output.json:
        output.print_document(document)
        return
    shown = {
        key: value for key, value in document.items() if key not in ("classes", "name") and value is not None
    }
    shown["shape"] = " x ".join(map(str, document["shape"]))
    output.table(document["name"], ("field", "value"), list(shown.items()))
    output.table(
        "Classes",
        ("class", "name", "samples"),
        [(c["index"], c["name"], c["samples"]) for c in document["classes"]],
    )


def summary(dataset: Dataset) -> dict[str, Any]:
    """What `show` tells of a data set, as a JSON object."""
    import numpy as np

    counts = np.bincount(dataset.y, minlength=dataset.n_classes)
    return {
        "name": dataset.name,
        "samples": len(dataset),
        "shape": list(dataset.sample_shape),
        "features": dataset.n_features,
        "dtype": str(dataset.x.dtype),
        "minimum": dataset.x.min(),
        "maximum": dataset.x.max(),
        "test_samples": None if dataset.is_test is None else int(dataset.is_test.sum()),
        "groups": None if dataset.group is None else len(np.unique(dataset.group)),
        "classes": [
            {"index": i, "name": name, "samples": int(counts[i])}
            for i, name in enumerate(dataset.class_names)
        ],
    }


def _remote(entry: dict[str, Any]) -> bool:
    return entry["path"] is None
