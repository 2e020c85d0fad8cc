"""Make the data sets that the package carries, with the same bytes every time.

make_bundled_data.py SOURCE_FOLDER DIGITS_CSV_GZ [OUT]

SOURCE_FOLDER has emg_gestures.npz: X int8 (n, 50, 8), y, subject, is_test, class_names. DIGITS_CSV_GZ is
sklearn/datasets/data/digits.csv.gz of scikit-learn: 64 values from 0 to 16 and the class, a line a digit.
The bytes are the same wherever Python packs with the same zlib.
"""

from __future__ import annotations

import argparse
import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS_TEST_ROWS = 360
OUT = Path(__file__).parent.parent / "edgehff" / "data" / "bundled"


def digits(path: Path) -> dict[str, NDArray[Any]]:
    """The 1,797 digits in file order; the last 360 are the suggested test rows."""
    with gzip.open(path, "rt", encoding="ascii") as file:
        table = np.loadtxt(file, delimiter=",", dtype=np.float64)
    values = table.astype(np.uint8)
    if table.shape != (1797, 65) or (values != table).any() or values[:, :64].max() != 16:
        raise SystemExit(f"{path}: not scikit-learn's digits: {table.shape}, largest value {table.max()}")
    is_test = np.arange(len(values)) >= len(values) - DIGITS_TEST_ROWS
    return {"X": values[:, :64].reshape(-1, 8, 8), "y": values[:, 64], "is_test": is_test}


def emg_gestures(path: Path) -> dict[str, NDArray[Any]]:
    """The armband windows in recording order, without the class that has none; group is the person."""
    with np.load(path, allow_pickle=False) as file:
        y = file["y"].astype(np.uint8)
        present = np.unique(y)
        if not np.array_equal(present, np.arange(len(present))):
            raise SystemExit(f"{path}: classes {present.tolist()} have gaps")
        return {
            "X": file["X"].astype(np.int8, casting="no"),
            "y": y,
            "group": file["subject"].astype(np.uint8, casting="no"),
            "is_test": file["is_test"].astype(np.bool_, casting="no"),
            "class_names": file["class_names"][: len(present)],
        }


def write(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write an .npz whose bytes depend on the arrays alone: no clock, no user, no platform."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = 0o644 << 16
            archive.writestr(info, member.getvalue(), compresslevel=9)
    print(f"{path.name}: {path.stat().st_size} bytes")


def main() -> None:
    """Read the two sources and write both archives."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source_folder", type=Path)
    parser.add_argument("digits_csv_gz", type=Path)
    parser.add_argument("out", type=Path, nargs="?", default=OUT)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    write(options.out / "digits.npz", digits(options.digits_csv_gz))
    write(options.out / "emg-gestures.npz", emg_gestures(options.source_folder / "emg_gestures.npz"))


if __name__ == "__main__":
    main()
