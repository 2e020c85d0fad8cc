"""`edgehff demo`: one model from float to integers, a person and stock runtimes; then figures over people."""

from __future__ import annotations

import time
from typing import Any

import click

from edgehff.cli.output import Output, common_options, last_of, pass_output
from edgehff.errors import CheckFailed

RESULT_NAMES = {
    "before": "before",
    "shuffled": "after one pass, shuffled",
    "recording": "after one pass, in recording order",
}


@click.command()
@click.option("--workers", type=int, help="Processes; default: one a core.")
@common_options
@pass_output
def demo(output: Output, workers: int | None) -> None:
    """Take one model the whole way, then learn unseen people's gestures in one pass each.

    Bundled data: an armband of eight muscle sensors, six gestures, two series a person. First one model:
    pretrained in float on some people, quantized, personalized on others, exported and verified in its
    runtimes; what needs an extra that is not installed is skipped, and said so. Then, in integers from
    scratch, the table over all people: how well their second series is recognized before and after the
    network learned their first, each sample once.
    """
    from edgehff.data.sources import load

    data = load("emg-gestures")
    steps = _journey(output, data)
    output.say("")
    output.say("Now all people, each unseen by the network of their fold, trained from scratch in integers.")
    document = {**_measure(output, data, workers), "journey": steps}
    if output.json:
        output.print_document(document)
    else:
        _print(output, document)
        before, after = (document["results"][f"int16_{name}"]["mean"] for name in ("before", "recording"))
        output.say(
            f"One pass took the mean person from {before:.1%} to {after:.1%}, in recording order, in int16."
        )
        output.say("next: edgehff train --help, docs/tutorials/first-model.md")
    failed = [s for s in steps if s.get("passed") is False]
    if failed:
        raise CheckFailed(f"{failed[0]['form']}: {failed[0]['reason']}", hint="please report this")


def _journey(output: Output, data: Any) -> list[dict[str, Any]]:
    from edgehff.bench import journey

    steps = []
    output.say("One model, all the way: armband gestures, six classes, integers where it learns.")
    for step in journey.run(data):
        steps.append(step)
        if not output.json:
            output.print_text(_line(step))
    return steps


def _line(step: dict[str, Any]) -> str:
    kind = step["step"]
    if "skipped" in step:
        name = step.get("form", "in float, torch")
        return f"  {kind:12} {name}: skipped, {step['skipped']}"
    if kind == "pretrain":
        return f"  {kind:12} in float: {step['accuracy']:.1%} on {step['people']} people it has never seen"
    if kind == "quantize":
        source = ", the bundled model" if step.get("bundled") else ""
        return f"  {kind:12} to {step['arith']}{source}: {step['accuracy']:.1%}"
    if kind == "personalize":
        return f"  {kind:12} in integers, one pass over each one's first series: {step['accuracy']:.1%}"
    if "bytes" not in step:
        return f"  {kind:12} {step['form']}: FAILED, {step['reason']}"
    outcome = "verified" if step["passed"] else f"FAILED, {step['reason']}"
    return (
        f"  {kind:12} {step['form']}, {step['bytes']:,} bytes: {outcome}, {step['argmax_agreement']:.1%} "
        f"of {step['samples']} answers as the C core's, within {step['max_abs_diff']:.0e}"
    )


def _measure(output: Output, data: Any, workers: int | None) -> dict[str, Any]:
    """The figures over people, with seconds."""
    from edgehff.bench import one_pass as measured

    began = time.perf_counter()
    summary = last_of(output, measured.run(data, workers=workers), 5, "folds of people")
    return {"data": data.name, **summary, "seconds": time.perf_counter() - began}


def _print(output: Output, document: dict[str, Any]) -> None:
    """The table of the README."""
    results = document["results"]

    def row(label: str, name: str) -> tuple[str, ...]:
        r = results[name]
        low, high = r["interval"]
        return (
            label,
            f"{100 * r['mean']:.1f}",
            f"{100 * r['worst']:.0f}",
            f"{100 * low:.1f} to {100 * high:.1f}",
        )

    rows = [
        row(f"{arith}, {label}", f"{arith}_{key}")
        for arith in ("int16", "int8")
        for key, label in RESULT_NAMES.items()
    ]
    rows += [row(f"int16, last layer alone, {key}", f"last_layer_{key}") for key in ("shuffled", "recording")]
    rows += [
        row("logistic regression, trained on the other people", "regression_unseen"),
        row("logistic regression, trained on own first series", "regression_own"),
    ]
    output.table(
        f"{document['people']} unseen people, accuracy on their second series, %",
        ("", "mean", "worst person", "95 % interval"),
        rows,
    )
    chosen = "; ".join(
        f"{s['segments']} segment(s), {s['prototypes_per_class']} prototype(s)" for s in document["settings"]
    )
    output.say(f"chosen inside the training folds: {chosen}")
    output.say(f"took {document['seconds']:.0f} s on this machine")
