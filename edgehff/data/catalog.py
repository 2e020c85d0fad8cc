"""What is known of the data sets that have a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgehff.data.idx import FILES

CC_BY = "CC BY 4.0 as UCI states it, as far as we know (see NOTICE)"


@dataclass(frozen=True)
class Source:
    """What is known of a named data set.

    shape: the shape of one sample.  samples, test_samples: numbers of rows.
    base_url and sha256 (file name to digest): where it is fetched from; empty for what the package carries.
    system_folder: where a distribution's package puts the same files, and system_package its name.
    """

    name: str
    title: str
    license: str
    source: str
    citation: str
    shape: tuple[int, ...]
    samples: int
    test_samples: int
    class_names: tuple[str, ...]
    base_url: str = ""
    sha256: Mapping[str, str] = field(default_factory=dict)
    megabytes: int = 0
    system_folder: str = ""
    system_package: str = ""

    @property
    def bundled(self) -> bool:
        """Whether the package carries it."""
        return not self.base_url

    @property
    def obtained(self) -> str:
        """How it gets here, in words."""
        if self.bundled:
            return "in the package"
        system = f", or apt install {self.system_package}" if self.system_package else ""
        return f"downloaded on first use ({self.megabytes} MB){system}"


def _digests(*sha256: str) -> dict[str, str]:
    return dict(zip(FILES, sha256, strict=True))


DIGITS = tuple(str(d) for d in range(10))
SOURCES: dict[str, Source] = {
    s.name: s
    for s in (
        Source(
            name="digits",
            title="Optical recognition of handwritten digits, 8x8",
            license=CC_BY,
            source="UCI Machine Learning Repository, data set 80, its test file, in scikit-learn's copy",
            citation="E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI, 1998",
            shape=(8, 8),
            samples=1797,
            test_samples=360,
            class_names=DIGITS,
        ),
        Source(
            name="emg-gestures",
            title="EMG armband, 6 gestures of 33 people, 50 x 8",
            license=CC_BY,
            source="UCI Machine Learning Repository, data set 481 (33 of its 36 people, every 5th sample)",
            citation="S. Lobov, N. Krilova, I. Kastalskiy, V. Kazantsev, V. A. Makarov: Latent Factors "
            "Limiting the Performance of sEMG-Interfaces, Sensors 18(4):1122, 2018",
            shape=(50, 8),
            samples=9313,
            test_samples=4808,
            class_names=("rest", "fist", "wrist_flexion", "wrist_extension", "radial_dev", "ulnar_dev"),
        ),
        Source(
            name="fashion-mnist",
            title="Fashion-MNIST, 28x28",
            license="MIT",
            source="Zalando Research",
            citation="H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST, arXiv 1708.07747, 2017",
            shape=(28, 28),
            samples=70000,
            test_samples=10000,
            class_names=(
                "t-shirt",
                "trouser",
                "pullover",
                "dress",
                "coat",
                "sandal",
                "shirt",
                "sneaker",
                "bag",
                "ankle-boot",
            ),
            base_url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            sha256=_digests(
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
            megabytes=31,
            system_folder="/usr/share/datasets/fashion-mnist",
            system_package="dataset-fashion-mnist",
        ),
        Source(
            name="mnist",
            title="MNIST handwritten digits, 28x28",
            license="not stated by its authors in the files",
            source="Y. LeCun, C. Cortes, C. Burges; the mirror that torchvision uses",
            citation="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to "
            "Document Recognition, Proceedings of the IEEE 86(11), 1998",
            shape=(28, 28),
            samples=70000,
            test_samples=10000,
            class_names=DIGITS,
            base_url="https://ossci-datasets.s3.amazonaws.com/mnist/",
            sha256=_digests(
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
            megabytes=12,
        ),
    )
}
