"""`edgehff bench`: every figure of the documentation, measured again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgehff.cli.bench_people import classes, personalize
from edgehff.cli.bench_spiking import spiking
from edgehff.cli.output import Output, common_options, last_of, pass_output


@click.group()
def bench() -> None:
    """Measure the figures of the documentation again. Timings are of this machine, now."""


bench.add_command(personalize)
bench.add_command(classes)
bench.add_command(spiking)


@bench.command()
@click.option("--part", type=click.Choice(["digits", "stability", "all"]), default="all", show_default=True)
@click.option("--seeds", type=click.IntRange(2), help="Default: 10 for digits, 5 for stability.")
@click.option(
    "--steps", type=click.IntRange(50_000), default=1_000_000, show_default=True, help="For stability."
)
@click.option(
    "--float/--no-float", "with_float", default=True, show_default=True, help="The float twin, for digits."
)
@click.option("--workers", type=int, help="Processes; default: one a core.")
@common_options
@pass_output
def core(
    output: Output, part: str, seeds: int | None, steps: int, with_float: bool, workers: int | None
) -> None:
    """Digits in integers against the same rule in float, and a million steps at one rate."""
    from edgehff.bench import core as measured
    from edgehff.data.sources import load

    data, document = load("digits"), {}
    if part in ("digits", "all"):
        n = seeds or 10
        document["digits"] = last_of(output, measured.digits(data, n, with_float, workers), 5 * n, "digits")
    if part in ("stability", "all"):
        n = seeds or 5
        runs = 2 * len(measured.ABLATIONS) * n
        document["stability"] = last_of(
            output, measured.stability(data, n, steps, workers), runs, "stability"
        )
    if output.json:
        output.print_document(document)
        return
    if "digits" in document:
        _print_digits(output, document["digits"])
    if "stability" in document:
        _print_stability(output, document["stability"])


@bench.command("file")
@click.argument("model", required=False, type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|PATH", help="Whose first test row is run; default: the model's own.")
@common_options
@pass_output
def file_(output: Output, model: Path | None, data: str | None) -> None:
    """Bytes of MODEL's exported files, and the time of one sample beside eager torch, one thread each.

    MODEL is the newest model of this folder unless named. Times are the best of 20 rounds in turn; read the
    ratios.
    """
    from edgehff.bench import file as measured
    from edgehff.cli.eval import name_of_data
    from edgehff.data.sources import load
    from edgehff.extras import require
    from edgehff.model import file as files

    require("torch", "torch")
    model = files.default_model(Path()) if model is None else model
    network = files.load_any(model)
    rows = load(name_of_data(network, data), notice=output.say)
    entries = list(measured.run(network, rows))
    document = {"model": str(model), "targets": entries}
    if output.json:
        output.print_document(document)
        return
    output.table(
        f"{model}: files, and one sample on one thread of this machine, now",
        ("target", "bytes", "arena", "microseconds", "of eager torch", ""),
        [
            (
                e["target"],
                "-" if e.get("bytes") is None else f"{e['bytes']:,}",
                f"{e['arena_bytes']:,}" if "arena_bytes" in e else "-",
                f"{e['microseconds']:.0f}" if "microseconds" in e else "-",
                f"{e['of_eager']:.2f}" if "of_eager" in e else "-",
                e.get("skipped", ""),
            )
            for e in entries
        ],
    )


@bench.command()
@click.argument("recipe_path", metavar="RECIPE", type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|PATH", help="In place of the recipe's.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True)
@click.option("--epochs", type=click.IntRange(1), help="In place of the recipe's pretrain.epochs.")
@click.option("--device", default="cpu", show_default=True, metavar="cpu|cuda", help="Of torch.")
@common_options
@pass_output
def backprop(
    output: Output, recipe_path: Path, data: str | None, seeds: int, epochs: int | None, device: str
) -> None:
    """RECIPE's network in float, trained layer by layer and end to end by backpropagation: test accuracy.

    Both with the settings of [pretrain], from the same start values and in the same order.
    """
    from edgehff.bench import backprop as measured
    from edgehff.cli.train import checked_device, recipe_of
    from edgehff.data.sources import load
    from edgehff.errors import InputError
    from edgehff.extras import require

    require("torch", "torch")
    checked_device(device)
    recipe = recipe_of(recipe_path, data, {"arith": "float", "epochs": epochs})
    if not recipe.data:
        raise InputError("the recipe names no data set", hint="--data digits")
    whole = load(recipe.data, notice=output.say)
    events = measured.run(recipe, whole, seeds, device)
    total = len(measured.WAYS) * seeds * recipe.pretrain.epochs
    document = last_of(output, events, total, "passes")
    if output.json:
        output.print_document(document)
        return
    output.table(
        f"{whole.name}, {document['layers']}, {document['epochs']} passes, {seeds} seed(s), test accuracy %",
        ("trained", "mean", "each seed", "seconds"),
        [
            (
                name,
                f"{100 * r['accuracy']:.2f}",
                ", ".join(f"{100 * value:.2f}" for value in r["accuracies"]),
                f"{r['seconds']:.1f}",
            )
            for name, r in document["results"].items()
        ],
    )


@bench.command()
@common_options
@pass_output
def depth(output: Output) -> None:
    """RAM to learn one step of 2, 4, 8 and 16 equal convolutions, beside backpropagation."""
    from edgehff.bench import depth as measured

    document = measured.run()
    if output.json:
        output.print_document(document)
        return
    ways = list(document["rows"][0]["backprop"])
    output.table(
        f"bytes of RAM to learn one step: equal layers of {document['conv']} over"
        f" {' x '.join(map(str, document['input_shape']))}, {document['n_classes']} classes",
        ("layers", "scratch", "HFF", *ways),
        [
            (
                f"{r['layers']}, {r['arith']}",
                *(f"{n:,}" for n in (r["scratch_bytes"], r["ram_bytes"], *r["backprop"].values())),
            )
            for r in document["rows"]
        ],
    )


def _print_digits(output: Output, d: dict[str, Any]) -> None:
    results = d["results"]
    names = [name for name in results if "minus" not in name]
    output.table(
        f"digits, 64-32-10, {d['folds']} folds x {d['seeds']} seeds, accuracy %",
        ("arithmetic_passes", "mean", "deviation", "worst"),
        [(n, *(f"{100 * results[n][k]:.2f}" for k in ("mean", "std", "worst"))) for n in names],
    )
    output.table(
        "paired differences, points",
        ("", "mean", "95 % interval"),
        [
            (n, f"{100 * r['mean']:+.2f}", " to ".join(f"{100 * v:+.2f}" for v in r["interval"]))
            for n, r in results.items()
            if "minus" in n
        ],
    )


def _print_stability(output: Output, s: dict[str, Any]) -> None:
    output.table(
        f"{s['steps']} steps at a constant rate, {s['seeds']} seeds, accuracy %",
        (
            "arith", "stabilizers", "best", "final", "largest loss", "dead rows", "saturated %",
            "learned from, 20 passes %", "last pass %",
        ),
        [
            (
                r["arith"],
                r["stabilizers"],
                *(f"{100 * r[k]:.2f}" for k in ("best", "final", "largest_loss")),
                r["dead_rows"],
                f"{100 * r['saturated']:.3f}",
                *(f"{100 * r[k]:.1f}" for k in ("updates_20_passes", "updates_last_pass")),
            )
            for r in s["rows"]
        ],
    )  # fmt: skip
