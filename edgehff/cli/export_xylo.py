"""`edgehff export --target xylo`: a spiking model in the integers of a chip, written once they were run."""

from __future__ import annotations

from pathlib import Path

from edgehff.cli.eval import check_classes, choose_rows, name_of_data
from edgehff.cli.export_spiking import path_of
from edgehff.cli.output import Output
from edgehff.errors import CheckFailed
from edgehff.spiking.environment import FOLDER

FIT_ROWS, PROOF_ROWS = 1000, 100
SIMULATOR = FOLDER / "xylo"


def export_xylo(output: Output, model: Path, path: Path | None, data: str | None, variant: str) -> None:
    """Fit the integers to training rows, run them on test rows, and write them.

    Where XyloSim is installed, nothing is written once it gives another spike or membrane.
    """
    from edgehff.data.sources import load
    from edgehff.model import file as files
    from edgehff.spiking.chain import inputs_of
    from edgehff.spiking.simulate import run
    from edgehff.spiking.targets import xylo, xylo_file

    path = path_of(model, path, ".npz")
    network = files.load_spiking(model)
    xylo.check(network, variant)
    whole = load(name_of_data(network, data), notice=output.say)
    check_classes(network, whole)
    train, test = choose_rows(whole, "train", None), choose_rows(whole, "test", None)
    seen = network.encode(train.rows(range(min(FIT_ROWS, len(train)))).x)
    chip = xylo.quantize(network, inputs_of(network, seen), variant)
    x = network.encode(test.x)
    inputs = inputs_of(network, x)
    output.say(f"running it on {len(x)} test rows of {whole.name}")
    own, found = run(network, x, 0.0).answers, xylo.run(chip, inputs)
    built = xylo_file.to_bytes(chip, network, inputs[:PROOF_ROWS])
    beside = None
    if (SIMULATOR / "chip.py").is_file():
        output.say(f"running it in XyloSim, {min(PROOF_ROWS, len(x))} test rows")
        beside = xylo_file.compare(SIMULATOR, built, inputs[:PROOF_ROWS])
        if not beside.passed:
            raise CheckFailed(
                f"{path} would not do in XyloSim what it does here: {beside.told}; it was not written",
                hint="please report the model and this message",
            )
    files.write_atomically(path, built)
    document = {
        "model": str(model),
        "file": str(path),
        "target": "xylo",
        "variant": variant,
        "bytes": len(built),
        "samples": len(x),
        "model_accuracy": float((own == test.y).mean()),
        "accuracy": float((found.answers == test.y).mean()),
        "agreement": float((found.answers == own).mean()),
        "weight_shift": chip.shift_in,
        "threshold": chip.threshold,
        "steps": chip.steps + chip.silent,
        "spikes": float(found.hidden.sum() / len(x)),
        "peak": list(found.peak),
        "saturated": found.saturated,
        "xylosim": None
        if beside is None
        else {"version": beside.version, "slots": beside.slots, "differing": beside.differing},
    }
    if output.json:
        output.print_document(document)
        return
    limit = "a state stopped at its end" if found.saturated else "no state stopped at its end"
    checked = (
        "XyloSim is not installed: tools/simulators/install.py xylo"
        if beside is None
        else f"XyloSim {beside.version}, {min(PROOF_ROWS, len(x))} rows: {beside.told}"
    )
    output.print_text(
        f"wrote {path}  {len(built):,} bytes\n"
        f"{document['model_accuracy']:.2%} of {len(x)} test rows by the model,"
        f" {document['accuracy']:.2%} by Xylo's integers; {document['agreement']:.2%} answered alike\n"
        f"{document['spikes']:.0f} spikes a sample in {document['steps']} steps; {limit}\n{checked}"
    )
