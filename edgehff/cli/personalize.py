"""`edgehff personalize`: a model learns from one person's samples, one at a time."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgehff.cli import eval as evaluation
from edgehff.cli.output import Output, common_options, pass_output

if TYPE_CHECKING:
    from collections.abc import Iterable

    from edgehff.model.network import Network
    from edgehff.personalize.session import PersonalSession


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", metavar="NAME|PATH|-", help="A data set, or - for a sample a line on stdin.")
@click.option("--group", type=int, help="Learn from this subject or speaker alone.")
@click.option("--order", type=click.Choice(["recording", "shuffled"]), default="recording", show_default=True)
@click.option("--lr", type=float, help="Rate of the weights; default: the model's personal_lr.")
@click.option("--lr-prototypes", type=float, help="Rate of the prototypes; default: personal_lr_prototypes.")
@click.option(
    "-o", "--output", "target", type=click.Path(path_type=Path), help="Save the personal model here."
)
@common_options
@pass_output
def personalize(
    output: Output,
    model: Path,
    data: str | None,
    group: int | None,
    order: str,
    lr: float | None,
    lr_prototypes: float | None,
    target: Path | None,
) -> None:
    """Let MODEL learn from a stream, one sample at a time, each once.

    From a data set it learns the training rows and is tested on the test rows, before and after. From stdin,
    a line is v1,...,vn,label or {"x": [...], "label": ...}; a line without a label is answered, not learned.
    MODEL itself is not changed; -o saves what was learned.
    """
    from edgehff.data.sources import load
    from edgehff.data.stream import samples
    from edgehff.model import file
    from edgehff.personalize.session import PersonalSession
    from edgehff.train.metrics import accuracy

    network = file.load(model)
    changes = {"personal_lr": lr, "personal_lr_prototypes": lr_prototypes}
    recipe = network.recipe.replace(**{k: v for k, v in changes.items() if v is not None})
    session = PersonalSession(network, recipe)
    document: dict[str, Any] = {"model": str(model), "data": data or network.recipe.data}
    if data == "-":
        document |= _from_lines(output, network, session)
    else:
        whole = load(evaluation.name_of_data(network, data), notice=output.say)
        evaluation.check_classes(network, whole)
        first = evaluation.choose_rows(whole, "train", group)
        second = evaluation.choose_rows(whole, "test", group)
        document["before"] = accuracy(session.predict(second.x), second.y)
        right = 0
        with output.progress(len(first), "learning") as bar:
            for sample, label in samples(
                first, "shuffled" if order == "shuffled" else "recording", recipe.seed
            ):
                right += session.learn_one(sample, label) == label
                bar.update()
        document |= {
            "samples": len(first),
            "online_accuracy": right / len(first),
            "order": order,
            "group": group,
        }
        document["accuracy"] = accuracy(session.predict(second.x), second.y)
        document["test_samples"] = len(second)
    personal = session.snapshot()
    if target is not None:
        file.save(personal, target)
    document |= {
        "steps": personal.step,
        "weights_crc32": f"{personal.weights_crc32:08x}",
        "state_crc32": f"{personal.state_crc32:08x}",
        "output": None if target is None else str(target),
    }
    if output.json:
        output.print_document(document)
        return
    if "before" in document:
        output.print_text(
            f"before {document['before']:.2%}, "
            f"after {document['samples']} samples {document['accuracy']:.2%} "
            f"(on {document['test_samples']} test rows)"
        )
    output.say(
        f"learned {session.learned} samples; " + (f"wrote {target}" if target else "not saved: add -o FILE")
    )


def _from_lines(output: Output, network: Network, session: PersonalSession) -> dict[str, Any]:
    """Learn labeled lines of stdin, answer the others on stdout."""
    from edgehff.data.stream import read_lines

    answers, right = 0, 0
    lines: Iterable[tuple[Any, int | str | None]] = read_lines(sys.stdin, network.encoding.n_raw)
    for values, label in lines:
        sample = session.raw_of(values)
        if label is None:
            answers += 1
            name = network.class_names[session.predict_one(sample)]
            if not output.json:
                output.print_text(name)
        else:
            number = session.class_of(label)
            right += session.learn_one(sample, number) == number
    learned = session.learned
    return {"samples": learned, "answers": answers, "online_accuracy": right / learned if learned else None}
