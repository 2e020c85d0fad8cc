"""`edgehff export --target nir`: a spiking model, written once another simulator gave its spikes again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgehff.cli.eval import check_classes, choose_rows, name_of_data
from edgehff.cli.output import Output
from edgehff.errors import CheckFailed, InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgehff.model.spiking_network import SpikingNetwork

PROOF_ROWS = 100


def path_of(model: Path, given: Path | None, suffix: str) -> Path:
    """The file to write: what was given, or the model's name with suffix. InputError where it cannot be."""
    path = model.with_suffix(suffix) if given is None else given
    ending = Path(f"model{suffix}").suffix
    if path.suffix != ending:
        raise InputError(f"{path} does not end in {ending}", hint=f"-o {path.stem}{suffix}")
    if not path.absolute().parent.is_dir():
        raise InputError(f"the folder of {path} does not exist", hint=f"mkdir -p {path.parent}")
    return path


def proof_samples(output: Output, network: SpikingNetwork, data: str | None) -> NDArray[np.int16]:
    """PROOF_ROWS encoded test rows of the network's data, (n, n_in), or fewer."""
    from edgehff.data.sources import load

    whole = load(name_of_data(network, data), notice=output.say)
    check_classes(network, whole)
    rows = choose_rows(whole, "test", None)
    x = network.encode(rows.rows(range(min(PROOF_ROWS, len(rows)))).x)
    output.say(f"running it on {len(x)} test rows of {whole.name}")
    return x


def export_nir(output: Output, model: Path, path: Path | None, data: str | None) -> None:
    """Build the file, read it with snnTorch, and write it where no spike differs."""
    from edgehff.extras import require
    from edgehff.model import file as files
    from edgehff.spiking import nir
    from edgehff.spiking.chain import inputs_of, trains_of
    from edgehff.spiking.verify import compare

    for package in ("nir", "torch", "snntorch"):
        require(package, "spiking")
    path = path_of(model, path, ".nir")
    network = files.load_spiking(model)
    built = nir.build(network)
    x = proof_samples(output, network, data)
    found = nir.run_in_snntorch(built, inputs_of(network, x))
    last = len(network.layers) - 1
    agreement = compare("snnTorch", {str(last): found}, trains_of(network, x))
    if not agreement.passed:
        raise CheckFailed(
            f"{path} would not give the model's spikes: {agreement.reason or agreement.differing}"
            f" of {agreement.slots:,} slots differ in snnTorch; it was not written",
            hint="please report the model and this message",
        )
    files.write_atomically(path, built)
    document = {
        "model": str(model),
        "file": str(path),
        "target": "nir",
        "bytes": len(built),
        "samples": len(x),
        "slots": agreement.slots,
        "spikes": agreement.spikes,
        "differing": agreement.differing,
    }
    if output.json:
        output.print_document(document)
        return
    output.print_text(
        f"wrote {path}  {len(built):,} bytes\n"
        f"snnTorch gives the last layer's {agreement.spikes:,} spikes in {agreement.slots:,} slots, 0 differ"
    )
    output.say(f"next: edgehff spike verify {model}")
