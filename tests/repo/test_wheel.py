"""What a user installs: the source archive, and the wheel made from it, hold every file that they need."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command, cwd):
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def tracked():
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    return {name for name in run(*listing, cwd=ROOT).split("\0") if name and (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    program = "import sys, scikit_build_core.build as b; print(b.build_sdist(sys.argv[1]))"
    run(sys.executable, "-c", program, folder, cwd=ROOT)
    (made,) = folder.glob("*.tar.gz")
    return made


@pytest.fixture(scope="module")
def wheel(archive):
    with tarfile.open(archive) as tar:
        tar.extractall(archive.parent, filter="data")
    (source,) = (path for path in archive.parent.iterdir() if path.is_dir())
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", archive.parent, source]
    run(sys.executable, "-m", "pip", *build, cwd=archive.parent)
    (made,) = archive.parent.glob("*.whl")
    return made


def test_the_source_archive_holds_every_tracked_file(archive, tracked):
    with tarfile.open(archive) as tar:
        names = {member.name.split("/", 1)[1] for member in tar.getmembers() if member.isfile()}
    assert tracked - names == set()
    assert names - tracked == {"PKG-INFO"}


def test_the_wheel_holds_the_packages_the_c_sources_and_the_bundled_models(wheel, tracked):
    with zipfile.ZipFile(wheel) as z:
        names = {name for name in z.namelist() if ".dist-info/" not in name}
    expected = {name for name in tracked if name.startswith(("edgehff/", "firmware_bridge/"))}
    bundled = {"recipe.toml", "model.safetensors"}
    expected |= {
        f"edgehff/{name}" for name in tracked if name.startswith("models/") and Path(name).name in bundled
    }
    assert expected - names == set()
    (compiled,) = names - expected
    assert compiled.startswith("edgehff/_ffi")
