"""`edgehff export`: a model in a stock runtime's form, written only once it was proved there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehff.cli.output import Output, common_options, pass_output

if TYPE_CHECKING:
    from edgehff.export.forms import Proof
    from edgehff.export.verify import Parity
    from edgehff.model.float_network import FloatNetwork
    from edgehff.model.network import Network


SPIKING = ("nir", "loihi2", "spinnaker", "xylo")
"""Targets of spiking models."""


@click.command()
@click.option(
    "-t",
    "--target",
    required=True,
    type=click.Choice(["onnx", "executorch", "nir", "loihi2", "spinnaker", "akida", "xylo"]),
    help="Whose form to write.",
)
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    "file",
    type=click.Path(path_type=Path),
    help="File to write; default: the model's name with another ending.",
)
@click.option(
    "--backend",
    type=click.Choice(["xnnpack", "portable"]),
    default="xnnpack",
    show_default=True,
    help="Of ExecuTorch: XNNPACK as one delegate, or portable kernels in a small arena.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 65536),
    default=1,
    show_default=True,
    help="Of ExecuTorch: the most samples of one run; the arena holds that many. ONNX takes any number.",
)
@click.option(
    "--prototypes",
    type=click.Choice(["int8", "int16"]),
    help="Width of an integer model's prototypes; default: the model's.",
)
@click.option(
    "--variant",
    type=click.Choice(["a2", "a3", "imu"]),
    default="a2",
    show_default=True,
    help="Of Xylo: which chip's limits hold.",
)
@click.option("--data", metavar="NAME|PATH", help="Whose test rows to prove it on; default: the model's own.")
@common_options
@pass_output
def export(
    output: Output,
    target: str,
    model: Path | None,
    file: Path | None,
    backend: str,
    batch: int,
    prototypes: str | None,
    variant: str,
    data: str | None,
) -> None:
    """Export MODEL for single-pass inference, and prove the file in its real runtime against the C core.

    MODEL is the newest model of this folder unless named. The file takes raw samples: the encoder is in it.
    Where parity fails, nothing is written and the exit code is 7.

    Of a spiking model the file is one step: inputs and state to spikes, new state and an answer; every spike
    is proved. NIR is of spiking models: from spikes or currents to spikes, proved in snnTorch. Loihi 2 and
    SpiNNaker give the same spikes; Akida and Xylo are chips' integers, with their answers beside the model's.

    \b
    edgehff export --target executorch
    edgehff export --target onnx digits.safetensors -o digits.onnx
    """
    from edgehff.errors import CheckFailed, InputError
    from edgehff.export.forms import form_of, with_prototypes
    from edgehff.model import file as files

    context = click.get_current_context()
    _check_options(context, target)
    if target in SPIKING:
        if model is None:
            raise click.UsageError(f"--target {target} wants MODEL, of edgehff spike train", context)
        if target == "nir":
            from edgehff.cli.export_spiking import export_nir

            export_nir(output, model, file, data)
        elif target == "loihi2":
            from edgehff.cli.export_loihi2 import export_loihi2

            export_loihi2(output, model, file, data)
        elif target == "spinnaker":
            from edgehff.cli.export_spinnaker import export_spinnaker

            export_spinnaker(output, model, file, data)
        else:
            from edgehff.cli.export_xylo import export_xylo

            export_xylo(output, model, file, data, variant)
        return
    if target == "akida":
        from edgehff.cli.export_akida import export_akida

        export_akida(output, files.default_model(Path()) if model is None else model, file, data)
        return
    form = form_of(target, backend)
    form.check_installed()
    model = files.default_model(Path()) if model is None else model
    path = model.with_suffix(form.suffix) if file is None else file
    if path.suffix != form.ending:
        raise InputError(f"{path} does not end in {form.ending}", hint=f"-o {path.stem}{form.suffix}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"the folder of {path} does not exist", hint=f"mkdir -p {path.parent}")
    if files.is_spiking(model):
        from edgehff.cli.export_step import export_step

        if prototypes is not None:
            raise click.UsageError("--prototypes is of models that do not spike", context)
        export_step(output, form, model, path, batch, data)
        return
    network = with_prototypes(
        files.load_any(model), None if prototypes is None else int(prototypes.removeprefix("int"))
    )
    proof = proof_rows(output, network, data)
    output.say(f"{model}: building {form.name}")
    exported = form.build(network, batch)
    output.say(f"running it on {proof.n_rows} {proof.rows}")
    parity = proof.check_built(exported)
    if parity.passed:
        files.write_atomically(path, exported.data)
    document = {
        "model": str(model),
        "file": str(path) if parity.passed else None,
        "target": target,
        "backend": form.backend or None,
        "bytes": len(exported.data),
        **exported.details,
        "reference": proof.source,
        "rows": proof.rows,
        **parity_fields(parity),
    }
    if output.json:
        output.print_document(document)
    if not parity.passed:
        raise CheckFailed(
            f"{path} would not equal the model: {parity.reason}; it was not written",
            hint="please report the model and this message",
        )
    if output.json:
        return
    lines = [f"wrote {path}  {len(exported.data):,} bytes"]
    if "arena_bytes" in exported.details:
        taken = f"{exported.details['delegates']} delegate, nothing left over"
        count = sum(exported.details["operators"].values())
        how = taken if form.backend == "xnnpack" else f"{count} portable operators"
        lines.append(f"{how}; arena {exported.details['arena_bytes']:,} bytes for {batch} sample(s) at once")
    lines.append(told(parity, proof.rows))
    output.print_text("\n".join(lines))
    output.say(f"next: edgehff run {path} --data {network.recipe.data or 'NAME'}, edgehff verify {model}")


def _check_options(context: click.Context, target: str) -> None:
    """UsageError where an option is given that is of other targets."""
    others = {
        "backend": (("executorch",), "of --target executorch"),
        "batch": (("executorch",), "of --target executorch"),
        "prototypes": (("onnx", "executorch"), "of onnx and executorch, and models that do not spike"),
        "variant": (("xylo",), "of --target xylo"),
    }
    for name, (targets, kind) in others.items():
        given = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if given and target not in targets:
            raise click.UsageError(f"--{name} is {kind}", context)


def proof_rows(output: Output, network: Network | FloatNetwork, data: str | None) -> Proof:
    """The samples to prove with: the data set's test rows, or made-up ones where it is not here."""
    from edgehff.cli.eval import check_classes
    from edgehff.data.sources import load
    from edgehff.errors import DataError
    from edgehff.export.forms import proof_of

    name = data or network.recipe.data
    try:
        rows = load(name, notice=output.say) if name else None
    except DataError as error:
        if data is not None:
            raise
        output.say(f"{error.message}: made-up samples stand in; --data names rows")
        rows = None
    if rows is not None:
        check_classes(network, rows)
    return proof_of(network, rows)


def told(parity: Parity, rows: str) -> str:
    """A parity in one line."""
    text = f"{parity.argmax_agreement:.2%} of {parity.samples} {rows} answered as the model does"
    if parity.disagreements:
        text += f" ({parity.disagreements} not, margin there at most {parity.worst_margin:.1e})"
    return text + (
        f"; similarities within {parity.max_abs_diff:.0e} of its, {parity.spec_diff:.0e} of the specification"
    )


def parity_fields(parity: Parity) -> dict[str, Any]:
    """A parity as the JSON names it, with the bounds it was held to."""
    from dataclasses import asdict

    from edgehff.export.verify import BOUND, MIN_AGREEMENT, SPEC_BOUND

    bounds = {"argmax_agreement": MIN_AGREEMENT, "worst_margin": BOUND, "spec_diff": SPEC_BOUND}
    return {**asdict(parity), "bounds": bounds}
