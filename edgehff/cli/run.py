"""`edgehff run`: an exported file in its stock runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgehff.cli.output import Output, common_options, pass_output


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--input", "samples", type=click.Path(path_type=Path), help="An .npy file, a sample a row.")
@click.option("--data", metavar="NAME|PATH", help="A data set, whose test rows are run and scored.")
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path), help="Write similarities there, as .npy."
)
@click.option(
    "--batch", type=click.IntRange(1, 65536), help="Samples of one run; default: as many as the file takes."
)
@common_options
@pass_output
def run(
    output: Output,
    file: Path,
    samples: Path | None,
    data: str | None,
    target: Path | None,
    batch: int | None,
) -> None:
    """Run FILE, an exported .onnx or .pte, on samples: a class name a line.

    \b
    edgehff run digits.onnx --data digits
    edgehff run digits.pte --input samples.npy -o similarities.npy
    """
    import numpy as np

    from edgehff.errors import InputError
    from edgehff.export.artifact import open_artifact

    if (samples is None) == (data is None):
        raise click.UsageError("name either --input or --data", click.get_current_context())
    if target is not None and target.suffix != ".npy":
        raise InputError(f"{target} does not end in .npy", hint=f"-o {target.stem}.npy")
    artifact = open_artifact(file)
    names = artifact.metadata["class_names"]
    rows, labels = _rows(output, names, samples, data)
    if rows.dtype == np.float64 and artifact.metadata["encoder"]["input_scale"] is not None:
        rows = rows.astype(np.float32)  # a model of float samples: files take float32
    if not len(rows):
        raise InputError(f"{samples or data} holds no samples", hint="give one row a sample")
    found = artifact.similarities(rows, batch)
    answers = found[:, 0].argmax(axis=1)
    document: dict[str, Any] = {
        "file": str(file),
        "runtime": artifact.runtime,
        "samples": len(rows),
        "answers": answers,
        "class_names": names,
        "accuracy": None if labels is None else float((answers == labels).mean()),
        "output": None if target is None else str(target),
    }
    if target is not None:
        np.save(target, found[:, 0])
    if output.json:
        output.print_document(document)
    elif labels is None:
        output.print_text("\n".join(names[a] for a in answers))
    else:
        output.print_text(
            f"{file} on {len(rows)} test rows of {data}: {document['accuracy']:.2%}  ({artifact.runtime})"
        )
    if target is not None:
        output.say(f"wrote {target}: similarities, {found[:, 0].shape}")


def _rows(output: Output, names: list[str], samples: Path | None, data: str | None) -> tuple[Any, Any]:
    """Samples, and their labels or None."""
    import numpy as np

    from edgehff.data.sources import load
    from edgehff.data.split import train_test
    from edgehff.errors import DataError

    if data is not None:
        whole = load(data, notice=output.say)
        if list(whole.class_names) != names:
            raise DataError(
                f"{whole.name} has other classes than the file: {', '.join(whole.class_names[:6])}",
                hint="edgehff inspect FILE",
            )
        test = whole.rows(train_test(whole)[1])
        return test.x, test.y
    assert samples is not None
    try:
        with samples.open("rb") as stream:
            found = np.load(stream, allow_pickle=False)
            if not isinstance(found, np.ndarray) or found.ndim < 1 or found.dtype.kind not in "iuf":
                raise ValueError("it holds no array of samples")
            return found, None
    except OSError as error:
        raise DataError(f"cannot read {samples}: {error.strerror}", hint="give an .npy file") from error
    except (ValueError, EOFError) as error:
        raise DataError(
            f"{samples} is no .npy file of numbers: {error}", hint="numpy.save writes one"
        ) from error
