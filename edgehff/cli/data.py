"""`edgehff data`: which data sets there are, what is in one, and recordings of event cameras as one."""

from __future__ import annotations

from pathlib import Path
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


@data.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("-o", "--output", "file", required=True, type=click.Path(path_type=Path), help=".npz to write.")
@click.option(
    "--size",
    nargs=2,
    required=True,
    type=click.IntRange(1, 65_535),
    metavar="HEIGHT WIDTH",
    help="Pixels of the sensor.",
)
@click.option("--steps", required=True, type=click.IntRange(1, 1024), help="Steps of a sample.")
@click.option("--step-ms", required=True, type=click.FloatRange(0.001, 60_000), help="Length of a step.")
@click.option("--pool", type=click.IntRange(1, 1024), default=1, help="So many pixels a side count as one.")
@common_options
@pass_output
def events(
    output: Output,
    folder: Path,
    file: Path,
    size: tuple[int, int],
    steps: int,
    step_ms: float,
    pool: int,
) -> None:
    """Count the events of an event camera's recordings into steps, for spiking networks.

    FOLDER has a folder for each class, or Train and Test with such folders, and in them .bin of N-MNIST,
    .aedat4 (pip install "edgehff[events]") or .npy of structured arrays, as Tonic has them.

    \b
    edgehff data events N-MNIST -o nmnist.npz --size 34 34 --steps 10 --step-ms 30
    """
    import io

    import numpy as np

    from edgehff.data.recordings import Frames, load_recordings
    from edgehff.errors import InputError
    from edgehff.model.file import write_atomically

    if file.suffix != ".npz":
        raise InputError(f"{file} does not end in .npz", hint=f"-o {file.stem}.npz")
    if not file.absolute().parent.is_dir():
        raise InputError(f"the folder of {file} does not exist", hint=f"mkdir -p {file.parent}")
    dataset, share = load_recordings(folder, Frames(size, steps, round(step_ms * 1000), pool))
    arrays = {"X": dataset.x, "y": dataset.y, "class_names": np.array(dataset.class_names)}
    if dataset.is_test is not None:
        arrays["is_test"] = dataset.is_test
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)  # type: ignore[arg-type]
    write_atomically(file, packed.getvalue())
    document = {
        **summary(dataset),
        "file": str(file),
        "counted": share,
        "filled": float(np.count_nonzero(dataset.x) / dataset.x.size),
    }
    if output.json:
        output.print_document(document)
        return
    output.print_text(
        f"wrote {file}  {len(dataset):,} recordings of {dataset.n_classes} classes,"
        f" {' x '.join(map(str, dataset.sample_shape))}\n"
        f"{share:.1%} of the events are counted; others come after the last step or above 255 at a place"
    )
    output.say(
        f'next: a recipe of code = "events", steps = {steps}; edgehff spike train RECIPE --data {file}'
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
