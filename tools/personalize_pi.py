"""Let a model learn on a Raspberry Pi from a board on its USB port.

    python personalize_pi.py MODEL.safetensors FOLDER --serial /dev/ttyACM0

The board writes a sample a line, v1,...,vn. Each answer is printed; type a class's name and Enter to say what
the last sample was: it is learned. A name that is new becomes a class. What was learned is kept in FOLDER,
through power loss too. Ctrl-C ends it.
"""

import argparse
import sys
from pathlib import Path

from edgehff.data.stream import Item
from edgehff.errors import EdgehffError
from edgehff.model import file
from edgehff.personalize.sensors import typed
from edgehff.personalize.session import PersonalSession
from edgehff.personalize.sources import Refusal, SerialPort, lines


def learn(session: PersonalSession, sample_id: str, word: str) -> None:
    """Learn the sample that was answered last under this name."""
    if not session.has_class(word):
        session.add_class(word)
    session.feedback(sample_id, word)
    print(f"learned {word}; {session.sync()} events are safe")


def main() -> None:
    """Answer samples as they come, and learn those that a name was typed for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--serial", default="/dev/ttyACM0")
    parser.add_argument("--baud", type=int, default=115200)
    args = parser.parse_args()

    words, last = typed(), ""
    with PersonalSession.open(args.folder, file.load(args.model)) as session:
        board = SerialPort(args.serial, args.baud)
        for n, came in enumerate(lines(board, session.sample_width)):
            if isinstance(came, Refusal):
                print(f"passed over: {came.reason}", file=sys.stderr)
            elif isinstance(came, Item) and came.values is not None:
                last = f"sample {n}"
                answer = session.answer_one(session.raw_of(came.values), last)
                print("unknown" if answer.unknown else session.name_of(answer.label), flush=True)
            while last and not words.empty():
                learn(session, last, words.get())
                last = ""


if __name__ == "__main__":
    try:
        main()
    except EdgehffError as error:
        sys.exit(f"{error.message}\n  try: {error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
