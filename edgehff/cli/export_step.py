"""`edgehff export` of a spiking model to a runtime: one step, written once it gave the spikes there."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgehff.cli.export_spiking import proof_samples
from edgehff.cli.output import Output
from edgehff.errors import CheckFailed

if TYPE_CHECKING:
    from edgehff.export.forms import Form

BOUND = 1e-5
"""Of similarities, which are rounded; spikes have none."""


def export_step(output: Output, form: Form, model: Path, path: Path, batch: int, data: str | None) -> None:
    """Build the file, run all steps of test rows in its runtime, and write it where no spike differs."""
    import numpy as np

    from edgehff.export.step_run import open_step
    from edgehff.model import file as files
    from edgehff.spiking.chain import inputs_of, trains_of
    from edgehff.spiking.simulate import cosines_of
    from edgehff.spiking.verify import compare

    network = files.load_spiking(model)
    output.say(f"{model}: building one step as {form.name}")
    exported = form.build_step(network, batch)
    x = proof_samples(output, network, data)
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / f"model{form.suffix}"
        built.write_bytes(exported.data)
        step = open_step(built)
        similarities, trains = step.run(inputs_of(network, x))
    agreement = compare(form.name, {str(i): t for i, t in enumerate(trains)}, trains_of(network, x))
    wanted = np.stack(list(cosines_of(network, x)), axis=1)
    apart = float(np.abs(similarities - wanted).max())
    if not agreement.passed or not apart <= BOUND:
        reason = agreement.reason or (
            f"{agreement.differing:,} of {agreement.slots:,} slots differ in {step.runtime},"
            f" similarities by {apart:.0e}"
        )
        beta = network.recipe.spiking.beta
        raise CheckFailed(
            f"{path} would not give the model's spikes: {reason}; it was not written",
            hint="please report the model and this message"
            if beta == 1
            else f"membranes of beta = {beta:g} are rounded; [spiking] beta = 1, and train again",
        )
    files.write_atomically(path, exported.data)
    document = {
        "model": str(model),
        "file": str(path),
        "target": form.target,
        "backend": form.backend or None,
        "bytes": len(exported.data),
        **exported.details,
        "runtime": step.runtime,
        "samples": len(x),
        "slots": agreement.slots,
        "spikes": agreement.spikes,
        "differing": agreement.differing,
        "similarity_diff": apart,
        "bounds": {"differing": 0, "similarity_diff": BOUND},
    }
    if output.json:
        output.print_document(document)
        return
    output.print_text(
        f"wrote {path}  {len(exported.data):,} bytes, one step\n"
        f"{step.runtime} gives all layers' {agreement.spikes:,} spikes in {agreement.slots:,} slots,"
        f" 0 differ; similarities within {apart:.0e}"
    )
    output.say(f"next: edgehff spike verify {model}")
