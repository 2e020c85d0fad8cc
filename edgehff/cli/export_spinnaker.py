"""`edgehff export --target spinnaker`: a spiking model in the chip's words, where they spike alike."""

from __future__ import annotations

from pathlib import Path

from edgehff.cli.export_spiking import path_of, proof_samples
from edgehff.cli.output import Output
from edgehff.errors import CheckFailed

ENGINE_ROWS = 10


def export_spinnaker(output: Output, model: Path, path: Path | None, data: str | None) -> None:
    """Run the chip's words on test rows, and write them where every spike is the model's.

    Where sPyNNaker is installed, nothing is written that does not map, or whose words or spikes differ there.
    """
    from edgehff.model import file as files
    from edgehff.spiking.chain import inputs_of, trains_of
    from edgehff.spiking.targets import spinnaker
    from edgehff.spiking.targets.spinnaker_engine import HOME, INSTALL, compare_with
    from edgehff.spiking.verify import compare

    path = path_of(model, path, ".npz")
    network = files.load_spiking(model)
    chip = spinnaker.quantize(network)
    x = proof_samples(output, network, data)
    inputs = inputs_of(network, x)
    found = spinnaker.run(chip, inputs)
    agreement = compare("SpiNNaker", {str(i): s for i, s in enumerate(found.spikes)}, trains_of(network, x))
    if not agreement.passed:
        at = "" if agreement.first is None else f", the first in layer {agreement.first[0]}"
        why = (
            f"weights of {found.largest:,} came in a step, of {spinnaker.FULL:,}; " if found.saturated else ""
        )
        leaks = f"{found.leaking:,} membranes leaked; " if found.leaking else ""
        raise CheckFailed(
            f"{path} would not give the model's spikes: {agreement.reason or agreement.differing}"
            f" of {agreement.slots:,} slots differ{at}; it was not written",
            hint=f"{why}{leaks}[spiking] levels, fewer",
        )
    built = spinnaker.to_bytes(chip, network, inputs)
    beside = None
    if (HOME / "chip.py").is_file():
        output.say(
            f"mapping it in sPyNNaker, and running {min(ENGINE_ROWS, len(x))} rows in its machine code"
        )
        beside = compare_with(built, inputs[:ENGINE_ROWS])
        if not beside.passed:
            raise CheckFailed(
                f"{path} would not do in sPyNNaker what it does here: {beside.told}; it was not written",
                hint="please report the model and this message",
            )
    files.write_atomically(path, built)
    document = {
        "model": str(model),
        "file": str(path),
        "target": "spinnaker",
        "bytes": len(built),
        "samples": len(x),
        "slots": agreement.slots,
        "spikes": agreement.spikes,
        "differing": agreement.differing,
        "sources": chip.weights[0].shape[1],
        "leaking": found.leaking,
        "largest": found.largest,
        "spynnaker": None
        if beside is None
        else {
            **beside.mapping,
            "samples": min(ENGINE_ROWS, len(x)),
            "slots": beside.agreement.slots,
            "differing": beside.agreement.differing,
        },
    }
    if output.json:
        output.print_document(document)
        return
    version = "" if beside is None else beside.mapping["version"].removeprefix("1!")
    output.print_text(
        f"wrote {path}  {len(built):,} bytes\n"
        f"0 of {agreement.slots:,} slots differ; {document['sources']:,} sources of spikes;"
        f" ring buffers {found.largest / spinnaker.FULL:.0%} full\n"
        + (
            f"sPyNNaker is not installed: {INSTALL}"
            if beside is None
            else f"sPyNNaker {version}: {beside.told}"
        )
    )
