"""`edgehff verify`: every form of a model against the C core."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehff.cli.output import Output, common_options, pass_output

if TYPE_CHECKING:
    from edgehff.export.forms import Form, Proof
    from edgehff.export.verify import Parity
    from edgehff.model.float_network import FloatNetwork
    from edgehff.model.network import Network


@click.command()
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option(
    "--targets",
    metavar="NAME,...",
    help="onnx, onnx-reference, executorch, executorch-portable; default: all whose packages are here.",
)
@click.option("--data", metavar="NAME|PATH", help="Whose test rows; default: the model's own.")
@common_options
@pass_output
def verify(output: Output, model: Path | None, targets: str | None, data: str | None) -> None:
    """Run every form of MODEL in its real runtime on all test rows, and hold it against the C core.

    MODEL is the newest model of this folder unless named. Files beside the model are taken as they are; what
    was not exported yet is built for the occasion. Ends with 7 where a form differs, and names the first
    layer that does.
    """
    from edgehff.cli.export import parity_fields, proof_rows
    from edgehff.errors import CheckFailed, MissingToolError
    from edgehff.export.forms import FORMS
    from edgehff.model import file as files

    chosen = _chosen(targets)
    model = files.default_model(Path()) if model is None else model
    network = files.load_any(model)
    proof = proof_rows(output, network, data)
    entries: list[dict[str, Any]] = []
    for form in chosen:
        try:
            form.check_installed()
        except MissingToolError as error:
            if targets is not None:
                raise
            entries.append({"target": form.name, "file": None, "skipped": f"{error.message}; {error.hint}"})
            continue
        output.say(f"{form.name} ...")
        path, runtime, parity = _parity(form, model, network, proof)
        entries.append({"target": form.name, "file": path, "runtime": runtime, **parity_fields(parity)})
    ran = [e for e in entries if "skipped" not in e]
    if not ran:
        raise MissingToolError(f"none of {', '.join(FORMS)} can run here", hint=entries[0]["skipped"])
    document = {
        "model": str(model),
        "weights_crc32": f"{network.weights_crc32:08x}",
        "reference": proof.source,
        "rows": proof.rows,
        "samples": proof.n_rows,
        "targets": entries,
        "passed": all(e["passed"] for e in ran),
    }
    if output.json:
        output.print_document(document)
    else:
        _print(output, document)
    if not document["passed"]:
        worst = next(e for e in ran if not e["passed"])
        raise CheckFailed(
            f"{worst['target']}: {worst['reason']}",
            hint=f"edgehff export {FORMS[worst['target']].command} {model} writes it anew",
        )


def _chosen(targets: str | None) -> list[Form]:
    import difflib

    from edgehff.errors import InputError
    from edgehff.export.forms import FORMS

    if targets is None:
        return list(FORMS.values())
    names = [name.strip() for name in targets.split(",") if name.strip()]
    for name in names:
        if name not in FORMS:
            near = difflib.get_close_matches(name, FORMS, 1) or list(FORMS)
            raise InputError(f"no target is called {name!r}", hint=f"--targets {near[0]}")
    if not names:
        raise InputError("--targets names nothing", hint=f"--targets {','.join(FORMS)}")
    return [FORMS[name] for name in names]


def _parity(
    form: Form, model: Path, network: Network | FloatNetwork, proof: Proof
) -> tuple[str | None, str, Parity]:
    """The file (None: built for the occasion), the runtime and the parity of one form."""
    import tempfile

    from edgehff.errors import ModelFileError
    from edgehff.export.verify import failed

    path = model.with_suffix(form.suffix)
    if path.is_file():
        try:
            artifact = form.open(path)
        except ModelFileError as error:
            return str(path), "", failed(proof.n_rows, error.message)
        return str(path), artifact.runtime, proof.check(artifact)
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / f"model{form.suffix}"
        made.write_bytes(form.build(network).data)
        artifact = form.open(made)
        return None, artifact.runtime, proof.check(artifact)


def _print(output: Output, document: dict[str, Any]) -> None:
    def row(e: dict[str, Any]) -> tuple[object, ...]:
        if "skipped" in e:
            return (e["target"], "-", "-", "-", "-", "-", "-", f"skipped: {e['skipped']}")
        first = e["first_differing_layer"]
        where = "none" if first is None else "joining" if first == -1 else f"layer {first}"
        return (
            e["target"],
            e["file"] or "built now",
            f"{e['argmax_agreement']:.3%}",
            f"{e['worst_margin']:.1e}" if e["disagreements"] else "-",
            f"{e['max_abs_diff']:.1e}",
            f"{e['spec_diff']:.1e}",
            where,
            "passed" if e["passed"] else "FAILED",
        )

    output.table(
        f"{document['model']} on {document['samples']} {document['rows']}, against {document['reference']}",
        (
            "target",
            "file",
            "equal answers",
            "margin where not",
            "largest difference",
            "from spec",
            "first differing",
            "outcome",
        ),
        [row(e) for e in document["targets"]],
    )
