"""Let a model of small gray pictures learn on a Jetson, or any Linux with a camera.

    pip install "edgehff[camera]"
    python personalize_jetson.py MODEL.safetensors FOLDER --camera 0

Each picture is answered; type a class's name and Enter to say what the camera sees now: the next ten pictures
are learned under it. A name that is new becomes a class. What was learned is kept in FOLDER, through power
loss too. Ctrl-C ends it.
"""

import argparse
import sys
from pathlib import Path

from edgehff.errors import EdgehffError
from edgehff.model import file
from edgehff.personalize.sensors import camera, typed
from edgehff.personalize.session import PersonalSession

PICTURES = 10
"""That are learned under a name."""


def main() -> None:
    """Answer pictures as they come, and learn those that a name was typed for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--camera", default="0", help="its number, or a video file")
    parser.add_argument("--side", type=int, default=28, help="pixels of the model's square pictures")
    args = parser.parse_args()

    words, name, left = typed(), "", 0
    with PersonalSession.open(args.folder, file.load(args.model)) as session:
        for picture in camera(args.camera, args.side, args.side):
            if not words.empty():
                name, left = words.get(), PICTURES
                if not session.has_class(name):
                    session.add_class(name)
            if left:
                session.learn_one(picture, name)
                left -= 1
                if left == 0:
                    print(
                        f"learned {PICTURES} pictures of {name}; {session.sync()} events are safe", flush=True
                    )
            else:
                answer = session.answer_one(picture)
                print("unknown" if answer.unknown else session.name_of(answer.label), flush=True)


if __name__ == "__main__":
    try:
        main()
    except EdgehffError as error:
        sys.exit(f"{error.message}\n  try: {error.hint}")
    except KeyboardInterrupt:
        sys.exit(130)
