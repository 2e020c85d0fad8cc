"""`edgehff model`: which trained models can be fetched, and fetching one."""

from __future__ import annotations

from pathlib import Path

import click

from edgehff.cli.output import Output, common_options, pass_output


@click.group()
def model() -> None:
    """List and fetch trained models.

    Small ones lie in models/ of the repository. Larger ones are fetched from the folder or address that
    EDGEHFF_MODELS names, and checked against their SHA-256.
    """


@model.command("list")
@common_options
@pass_output
def list_(output: Output) -> None:
    """List the models that can be fetched."""
    from dataclasses import asdict

    from edgehff.model.catalog import RELEASES

    if output.json:
        output.print_document({"models": [asdict(release) for release in RELEASES.values()]})
        return
    output.table(
        "Models",
        ("name", "what", "bytes", "SHA-256"),
        [(r.name, r.title, f"{r.bytes:,}", r.sha256) for r in RELEASES.values()],
    )
    output.say("edgehff model get NAME -o FILE fetches one")


@model.command()
@click.argument("name")
@click.option(
    "-o", "--output", "target", required=True, type=click.Path(path_type=Path), help="Model file to write."
)
@click.option(
    "--from", "address", metavar="FOLDER|URL", help="Where the file lies, in place of EDGEHFF_MODELS."
)
@common_options
@pass_output
def get(output: Output, name: str, target: Path, address: str | None) -> None:
    """Fetch the model NAME, and write it once its size and SHA-256 are right."""
    from edgehff.errors import InputError
    from edgehff.model import file
    from edgehff.model.releases import describe, fetch, locate

    release = describe(name)
    place = locate(release, address)
    if not target.absolute().parent.is_dir():
        raise InputError(f"the folder of {target} does not exist", hint=f"mkdir -p {target.parent}")
    output.say(f"fetching {release.title} ({release.bytes:,} bytes) from {place}")
    file.write_atomically(target, fetch(release, place))
    if output.json:
        output.print_document(
            {
                "name": release.name,
                "model": str(target),
                "from": place,
                "bytes": release.bytes,
                "sha256": release.sha256,
            }
        )
        return
    output.print_text(f"wrote {target}  {release.bytes:,} bytes, SHA-256 {release.sha256}")
    output.say(f"next: edgehff eval {target}, edgehff export --target onnx {target}")
