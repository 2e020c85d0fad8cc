import importlib.machinery
from importlib.metadata import PackageNotFoundError

import pytest

from edgehff import extras
from edgehff.errors import MissingToolError


@pytest.fixture
def machine(monkeypatch):
    """Call it with the packages that this machine has from now on, and their versions."""

    def put(**versions):
        def version(package):
            if package not in versions:
                raise PackageNotFoundError(package)
            return versions[package]

        def find_spec(package):
            return importlib.machinery.ModuleSpec(package, None) if package in versions else None

        monkeypatch.setattr(extras, "version", version)
        monkeypatch.setattr(extras, "find_spec", find_spec)

    return put


def test_what_can_be_imported_is_no_error(machine):
    machine(onnx="1.16.0")
    assert extras.require("onnx", "onnx") is None


@pytest.mark.parametrize(("package", "extra"), [("torch", "torch"), ("onnxruntime", "onnx")])
def test_a_missing_package_is_named_with_its_extra(machine, package, extra):
    machine(numpy="2.0.0")
    with pytest.raises(MissingToolError, match=f"^{package} is not installed$") as caught:
        extras.require(package, extra)
    assert caught.value.hint == f'pip install "edgehff[{extra}]"'
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("executorch", "torch"),
    [("1.5.0", "2.13.0"), ("1.5.1", "2.13.1+cpu"), ("1.5.0a0+git1234", "2.13.0.dev20261101")],
)
def test_executorch_runs_with_the_torch_it_was_built_for(machine, executorch, torch):
    machine(executorch=executorch, torch=torch)
    extras.require_executorch()


@pytest.mark.parametrize(
    ("versions", "missing"),
    [({}, "torch"), ({"executorch": "1.5.1"}, "torch"), ({"torch": "2.13.0"}, "executorch")],
)
def test_executorch_and_torch_come_with_one_extra(machine, versions, missing):
    machine(**versions)
    with pytest.raises(MissingToolError, match=f"^{missing} is not installed$") as caught:
        extras.require_executorch()
    assert caught.value.hint == 'pip install "edgehff[executorch]"'
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("torch", ["2.12.1", "2.1.3", "2.130.0+cpu", "3.13.0"])
def test_another_torch_is_refused_with_the_one_to_install(machine, torch):
    machine(executorch="1.5.1", torch=torch)
    with pytest.raises(MissingToolError) as caught:
        extras.require_executorch()
    assert caught.value.message == f"executorch 1.5.1 was built for torch 2.13, torch {torch} is installed"
    assert caught.value.hint == 'pip install "torch==2.13.*"'
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("executorch", ["1.4.0", "1.6.0", "2.0.0", "1.50.0"])
def test_another_executorch_is_refused_with_the_known_ones(machine, executorch):
    machine(executorch=executorch, torch="2.13.0")
    with pytest.raises(MissingToolError) as caught:
        extras.require_executorch()
    assert caught.value.message == f"executorch {executorch} is not known to this edgehff, which takes 1.5"
    assert caught.value.hint == 'pip install "edgehff[executorch]"'
    assert caught.value.exit_code == 4


def test_the_version_of_what_is_installed(machine):
    machine(torch="2.13.0+cpu")
    assert extras.installed("torch") == "2.13.0+cpu"
    assert extras.installed("executorch") is None


def test_the_packages_of_this_machine_are_found():
    extras.require("numpy", "torch")
    assert extras.installed("numpy")
    assert extras.installed("no-such-package-of-edgehff") is None
    with pytest.raises(MissingToolError):
        extras.require("no_such_package_of_edgehff", "torch")


def test_a_folder_of_that_name_is_no_package(monkeypatch, tmp_path):
    (tmp_path / "executorch").mkdir()
    monkeypatch.setattr(extras, "installed", lambda _: None)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingToolError, match="is not installed"):
        extras.require("executorch", "executorch")
