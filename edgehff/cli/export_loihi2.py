"""`edgehff export --target loihi2`: a spiking model in the chip's integers, where they spike alike."""

from __future__ import annotations

from pathlib import Path

from edgehff.cli.export_spiking import path_of, proof_samples
from edgehff.cli.output import Output
from edgehff.errors import CheckFailed


def export_loihi2(output: Output, model: Path, path: Path | None, data: str | None) -> None:
    """Run the chip's integers on test rows, and write them where every spike is the model's."""
    from edgehff.model import file as files
    from edgehff.spiking.chain import inputs_of, trains_of
    from edgehff.spiking.targets import loihi2
    from edgehff.spiking.verify import compare

    path = path_of(model, path, ".npz")
    network = files.load_spiking(model)
    chip = loihi2.quantize(network)
    x = proof_samples(output, network, data)
    inputs = inputs_of(network, x)
    found = loihi2.run(chip, inputs)
    agreement = compare("Loihi 2", {str(i): s for i, s in enumerate(found.spikes)}, trains_of(network, x))
    if not agreement.passed:
        why = "membranes stop at the ends of 24 bits" if found.saturated else "please report it"
        raise CheckFailed(
            f"{path} would not give the model's spikes: {agreement.reason or agreement.differing}"
            f" of {agreement.slots:,} slots differ; it was not written",
            hint=f"{why}; [spiking] levels, fewer",
        )
    built = loihi2.to_bytes(chip, network, inputs)
    files.write_atomically(path, built)
    document = {
        "model": str(model),
        "file": str(path),
        "target": "loihi2",
        "bytes": len(built),
        "samples": len(x),
        "slots": agreement.slots,
        "spikes": agreement.spikes,
        "differing": agreement.differing,
        "peak": found.peak / loihi2.HIGH,
    }
    if output.json:
        output.print_document(document)
        return
    reach = f"membranes reach {document['peak']:.0%} of their range"
    if found.saturated:
        reach = "membranes stopped at the ends of 24 bits, which changed no spike"
    output.print_text(f"wrote {path}  {len(built):,} bytes\n0 of {agreement.slots:,} slots differ; {reach}")
    output.say(f"next: edgehff spike verify {model} --simulator lava")
