"""`edgehff quantize`: a float network in the integers of the core."""

from __future__ import annotations

from pathlib import Path

import click

from edgehff.cli.output import Output, common_options, pass_output


@click.command()
@click.argument("model", metavar="FLOAT_MODEL", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "target", required=True, type=click.Path(path_type=Path), help="Model file to write."
)
@click.option(
    "--arith",
    type=click.Choice(["int8", "int16"]),
    default="int16",
    show_default=True,
    help="How weights are kept.",
)
@common_options
@pass_output
def quantize(output: Output, model: Path, target: Path, arith: str) -> None:
    """Bring FLOAT_MODEL into integers: one rescaling a layer, and no calibration samples.

    The result answers and learns as a network that was trained in integers does.
    """
    from edgehff.errors import ModelFileError
    from edgehff.model import file
    from edgehff.model.float_network import FloatNetwork
    from edgehff.quantize.network import quantize as to_integers
    from edgehff.quantize.network import saturated_share

    if target.exists() and model.exists() and target.samefile(model):
        raise ModelFileError(f"{target} is the float model itself", hint="-o int16.safetensors")
    network = file.load_any(model)
    if not isinstance(network, FloatNetwork):
        raise ModelFileError(
            f"{model} holds integers already ({network.recipe.arith})",
            hint="train a float network: edgehff train --arith float ...",
        )
    done = to_integers(network, arith)
    file.save(done, target)
    document = {
        "model": str(model),
        "output": str(target),
        "arith": arith,
        "saturated": saturated_share(done),
        "weights_crc32": f"{done.weights_crc32:08x}",
        "state_crc32": f"{done.state_crc32:08x}",
    }
    if output.json:
        output.print_document(document)
        return
    output.print_text(
        f"wrote {target}  {arith}, {document['saturated']:.3%} of the weights at their limit"
        f"  weights {document['weights_crc32']}"
    )
    output.say(f"next: edgehff eval {target}, edgehff export --target onnx {target}")
