"""`edgehff export --target akida`: a network in the integers of BrainChip's chip, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgehff.cli.eval import check_classes, choose_rows, measure, name_of_data
from edgehff.cli.export_spiking import path_of
from edgehff.cli.output import Output

if TYPE_CHECKING:
    from edgehff.model.float_network import FloatNetwork
    from edgehff.model.network import Network

SUFFIX = ".akida.npz"


def export_akida(output: Output, model: Path, path: Path | None, data: str | None) -> None:
    """Quantize on training rows, run the reference on test rows, and write the file."""
    from edgehff.data.sources import load
    from edgehff.model import file as files
    from edgehff.spiking.targets import akida
    from edgehff.spiking.targets.akida_quantize import quantize
    from edgehff.train import metrics

    path = path_of(model, path, SUFFIX)
    network = files.load_any(model)
    akida.check(network)
    whole = load(name_of_data(network, data), notice=output.say)
    check_classes(network, whole)
    train, test = choose_rows(whole, "train", None), choose_rows(whole, "test", None)
    output.say(f"quantizing on training rows of {whole.name}")
    built = akida.to_bytes(quantize(network, train.x, train.y))
    made = akida.from_bytes(built)
    output.say(f"running the reference on {len(test)} test rows")
    accuracy = metrics.accuracy(made.predict(test.x), test.y)
    of_model = measure(network, test)
    files.write_atomically(path, built)
    document = {
        "model": str(model),
        "file": str(path),
        "target": "akida",
        "bytes": len(built),
        "bytes_of_weights": made.bytes_of_weights,
        "weight_bits": made.weight_bits,
        "act_bits": made.act_bits,
        "input_step": made.input_step,
        "rows": "test",
        "samples": len(test),
        "model_accuracy": of_model["accuracy"],
        "last_layer_accuracy": of_model["per_layer"][-1],
        "accuracy": accuracy,
    }
    if output.json:
        output.print_document(document)
        return
    lines = [
        f"wrote {path}  {len(built):,} bytes; weights of {made.bytes_of_weights:,} bytes on the chip",
        f"accuracy on {len(test)} test rows: Akida's integers {accuracy:.2%}, the model "
        f"{document['model_accuracy']:.2%}",
    ]
    if _joins(network):
        lines.append(
            "the last layer's prototypes answer, where the model joins all layers': its last layer alone has "
            f"{document['last_layer_accuracy']:.2%}"
        )
    output.print_text("\n".join(lines))
    output.say(f"next: python tools/simulators/akida_outputs.py {path} --data {whole.name}")


def _joins(network: Network | FloatNetwork) -> bool:
    """Whether other layers answer too."""
    from edgehff.model.float_network import join_shares

    return join_shares(network.recipe)[-1] != 1
