"""`edgehff eval`: what a model is worth on test rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehff.cli.output import Output, common_options, pass_output

if TYPE_CHECKING:
    from edgehff.data.dataset import Dataset
    from edgehff.model.document import AnyNetwork
    from edgehff.model.float_network import FloatNetwork
    from edgehff.model.network import Network


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--data", metavar="NAME|PATH", help="A named data set or a file; default: the one it was trained on."
)
@click.option("--rows", type=click.Choice(["test", "train", "all"]), default="test", show_default=True)
@click.option("--group", type=int, help="Only this subject or speaker.")
@click.option(
    "--int8-prototypes", is_flag=True, help="With prototypes in int8, as inference artifacts carry them."
)
@click.option(
    "--plots",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Write pictures of what the model learned there; needs the extra plot.",
)
@common_options
@pass_output
def evaluate(
    output: Output,
    model: Path,
    data: str | None,
    rows: str,
    group: int | None,
    int8_prototypes: bool,
    plots: Path | None,
) -> None:
    """Measure MODEL: accuracy, per class, per layer, confusion.

    Rows are those that the data set marks, or a holdout of 20 %.
    """
    from edgehff.data.sources import load
    from edgehff.extras import require
    from edgehff.model import file

    if plots is not None:
        require("matplotlib", "plot")
    network = file.load_any(model)
    whole = load(name_of_data(network, data), notice=output.say)
    check_classes(network, whole)
    chosen = choose_rows(whole, rows, group)
    if int8_prototypes:
        network = _integer(network, model)
        network = network.with_int8_prototypes()
    found = measure(network, chosen) if plots is None else _measure_and_draw(network, chosen, plots)
    document = {"model": str(model), "data": whole.name, "rows": rows} | found
    if output.json:
        output.print_document(document)
        return
    output.print_text(f"{model} on {len(chosen)} rows of {whole.name} ({rows}): {document['accuracy']:.2%}")
    output.table(
        "Per class",
        ("class", "rows", "accuracy", *whole.class_names),
        [
            (name, sum(line), "-" if value is None else f"{value:.1%}", *line)
            for name, value, line in zip(
                whole.class_names, document["per_class"], document["confusion"], strict=True
            )
        ],
    )
    layers = ", ".join(f"{value:.2%}" for value in document["per_layer"])
    output.print_text(f"each layer alone: {layers}")
    if plots is not None:
        output.print_text(f"wrote {', '.join(document['plots'])}")


def _integer(network: Network | FloatNetwork, model: Path) -> Network:
    from edgehff.errors import ModelFileError
    from edgehff.model.network import Network

    if not isinstance(network, Network):
        raise ModelFileError(
            f"{model} holds a float network, whose prototypes are float",
            hint=f"edgehff quantize {model} --arith int16 -o int16.safetensors",
        )
    return network


def name_of_data(network: AnyNetwork, data: str | None) -> str:
    """The data set named on the command line, else the model's own. InputError where there is neither."""
    from edgehff.errors import InputError

    name = data or network.recipe.data
    if not name:
        raise InputError(
            "the model does not say what it was trained on", hint="name the data: --data NAME|PATH"
        )
    return name


def check_classes(network: AnyNetwork, data: Dataset) -> None:
    """InputError where the data's classes are not the model's."""
    from edgehff.errors import InputError

    if data.class_names != network.class_names:
        ours, theirs = ", ".join(network.class_names[:6]), ", ".join(data.class_names[:6])
        raise InputError(
            f"{data.name} has {data.n_classes} classes ({theirs}), "
            f"the model {len(network.class_names)} ({ours})",
            hint=f"edgehff data show {data.name}",
        )


def choose_rows(data: Dataset, rows: str, group: int | None) -> Dataset:
    """The training, test or all rows, of one group where given. InputError where none are left."""
    import numpy as np

    from edgehff.data.split import train_test
    from edgehff.errors import InputError

    train, test = train_test(data)
    at = {"train": train, "test": test, "all": np.arange(len(data))}[rows]
    if group is not None:
        if data.group is None:
            raise InputError(f"{data.name} has no groups", hint="leave --group out")
        at = at[data.group[at] == group]
        if not len(at):
            known = ", ".join(map(str, np.unique(data.group)))
            raise InputError(f"{data.name} has no {rows} rows of group {group}", hint=f"groups: {known}")
    return data.rows(at)


def measure(network: Network | FloatNetwork, rows: Dataset) -> dict[str, Any]:
    """Accuracy, per_class, per_layer, confusion and samples, as the JSON names them."""
    return _document(network, rows, *_answers(network, rows))


def _measure_and_draw(network: Network | FloatNetwork, rows: Dataset, folder: Path) -> dict[str, Any]:
    """What measure gives, and the pictures written to the folder as `plots`."""
    from edgehff.report import plots

    plots.prepare(folder)
    answers, alone = _answers(network, rows)
    written = plots.write(folder, network, rows, answers, alone)
    return _document(network, rows, answers, alone) | {"plots": [str(path) for path in written]}


def _answers(network: Network | FloatNetwork, rows: Dataset) -> tuple[Any, list[float]]:
    """The class of each row, shape (n,), and the accuracy of each layer alone."""
    from edgehff.model.float_network import FloatNetwork, joined
    from edgehff.train import metrics

    if isinstance(network, FloatNetwork):
        layers = network.layer_similarities(network.encode(rows.x))
        alone = [metrics.accuracy(layers[:, i].argmax(axis=1), rows.y) for i in range(layers.shape[1])]
        return joined(layers, network.recipe).argmax(axis=1), alone
    net, x = network.to_core(), network.encode(rows.x)
    return net.predict(x), metrics.per_layer(net, x, rows.y)


def _document(
    network: Network | FloatNetwork, rows: Dataset, answers: Any, alone: list[float]
) -> dict[str, Any]:
    from edgehff.train import metrics

    matrix = metrics.confusion(answers, rows.y, rows.n_classes)
    return {
        "samples": len(rows),
        "accuracy": metrics.accuracy(answers, rows.y),
        "per_class": metrics.per_class(matrix),
        "per_layer": alone,
        "confusion": matrix.tolist(),
        "class_names": list(rows.class_names),
        "arith": network.recipe.arith,
        "weights_crc32": f"{network.weights_crc32:08x}",
    }
