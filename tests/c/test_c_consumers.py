"""The exported folder in the hands of others: built as CMake, Arduino and bare compilers build it, and run.

PlatformIO, Zephyr and ESP-IDF are not here: their manifests are parsed, and their CMake is run with stand-ins
for the few functions that it calls.
"""

import json
import re
import shutil
import struct
import subprocess
from functools import cache

import numpy as np
import pytest
from builds import ROOT, run
from consumers import (
    ESP_IDF,
    MAIN_OF_LINK,
    NAMES,
    STRICT,
    ZEPHYR,
    built,
    expected,
    network,
    program,
    section,
    sketch,
    told,
    tool,
)

from edgehff.core import Net
from edgehff.model.encoding import Encoding
from edgehff.model.network import Network
from edgehff.recipe import EncoderRecipe, Recipe
from firmware_bridge import frame, protocol
from firmware_bridge.build import factory_blob
from firmware_bridge.export import compiled, export


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """exported(kind, link) is the folder, made once and never written to."""

    @cache
    def make(kind, link=False):
        folder = tmp_path_factory.mktemp("export") / "edgehff_model"
        export(network(kind), folder, link=link)
        return folder

    return make


# ---- plain CMake


@pytest.mark.parametrize("kind", NAMES)
def test_the_folder_itself_builds_its_example(exported, tmp_path, kind):
    shutil.copytree(exported(kind), tmp_path / "copy")
    assert told(program(built(tmp_path / "copy", "") / "example")) == expected(kind)


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize(("language", "suffix"), [("C", "c"), ("CXX", "cpp")])
def test_a_cmake_project_adds_the_folder(exported, tmp_path, language, suffix, link):
    folder = exported("window", link)
    shutil.copyfile(folder / "example.c", tmp_path / f"main.{suffix}")
    project = f"""project(app LANGUAGES {language})
add_subdirectory({folder} edgehff_model)
if(TARGET example)
  message(FATAL_ERROR "the example is for who builds the folder alone")
endif()
add_executable(app main.{suffix})
target_link_libraries(app PRIVATE edgehff::model)
"""
    assert told(program(built(tmp_path, project, language) / "app")) == expected("window")


@pytest.mark.parametrize("language", ["C", "CXX"])
def test_the_link_trains_over_a_port_made_from_the_template(exported, tmp_path, language):
    folder, suffix = exported("plain", True), "c" if language == "C" else "cpp"
    template = (folder / "port_template.c").read_text()
    filled = template.replace("(void)byte;", "putchar(byte);").replace(
        "/* What", "#include <stdio.h>\n/* What", 1
    )
    assert filled.count("putchar") == 1
    for name, text in (("main", MAIN_OF_LINK), ("port", filled), ("silent", template)):
        (tmp_path / f"{name}.{suffix}").write_text(text)
    project = f"""project(app LANGUAGES {language})
add_subdirectory({folder} edgehff_model)
add_executable(app main.{suffix} port.{suffix})
add_executable(silent main.{suffix} silent.{suffix})
foreach(name app silent)
  target_link_libraries(${{name}} PRIVATE edgehff::link)
endforeach()
"""
    build = built(tmp_path, project, language)
    raw = (np.arange(64) % 100).astype(np.uint8)
    asked = [
        (protocol.Op.HELLO, b""),
        (protocol.Op.TRAIN, struct.pack("<HH", 0, 0) + raw.tobytes()),
        (protocol.Op.CRC, b""),
    ]
    sent = b"".join(frame.encode(protocol.request(op, i, 7, body)) for i, (op, body) in enumerate(asked))
    said = subprocess.run([build / "app"], input=sent, capture_output=True, check=True, timeout=60).stdout
    hello, trained, crc = map(protocol.parse_reply, frame.FrameReader().feed(said))
    about = protocol.parse_hello(hello)
    assert (about.name, about.has) == ("edgehff-model", protocol.Has.MODEL | protocol.Has.FACTORY)
    assert (trained.status, trained.steps) == (0, network("plain").step + 1)
    before, after = expected("plain")
    assert int.from_bytes(trained.body[:2], "little") == before[0]
    assert int.from_bytes(crc.body[4:8], "little") == after[2]
    assert subprocess.run([build / "silent"], input=sent, capture_output=True, check=True).stdout == b""


def test_the_how_to_builds_and_runs(exported, tmp_path):
    page = (ROOT / "docs" / "how-to" / "use-in-your-firmware.md").read_text()
    (main,), (project,), (zephyr,) = (
        re.findall(rf"^```{kind}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for kind in ("c", "cmake", "text")
    )
    shutil.copytree(exported("window"), tmp_path / "edgehff_model")
    (tmp_path / "main.c").write_text(main)
    assert program(built(tmp_path, project) / "firmware") == ""
    assert "ZEPHYR_EXTRA_MODULES" in zephyr
    options = set(re.findall(r"CONFIG_\w+", page))
    used = (exported("plain", True) / "zephyr" / "CMakeLists.txt").read_text()
    assert options == set(re.findall(r"CONFIG_\w+", used))


# ---- Arduino, as its builder does it


@pytest.mark.toolchain
@pytest.mark.parametrize("kind", NAMES)
def test_an_arduino_mega_trains_to_the_same_bits(exported, tmp_path, kind):
    properties = dict(
        line.split("=", 1) for line in (exported(kind) / "library.properties").read_text().splitlines()
    )
    assert properties["dot_a_linkage"] == "true"
    elf = sketch(tmp_path, exported(kind), "train")
    blob = factory_blob(network(kind))
    assert blob in section(elf, ".text")
    assert blob[:16] not in section(elf, ".data")
    tool("simavr")
    command = ["simavr", "-m", "atmega2560", "-f", "16000000", elf]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert told((done.stdout + done.stderr).decode("utf-8", "replace")) == expected(kind)


@pytest.mark.toolchain
def test_the_link_builds_as_an_arduino_sketch(exported, tmp_path):
    elf = sketch(tmp_path, exported("plain", True), "link")
    for constant in (b"edgehff-model", factory_blob(network("plain"))[:16]):
        assert constant in section(elf, ".text")
        assert constant not in section(elf, ".data")


@pytest.mark.toolchain
def test_a_model_that_no_avr_holds_is_refused_in_words(tmp_path):
    recipe = Recipe(layers=(300,), encoder=EncoderRecipe())
    encoding = Encoding("uint8", (64, 1))
    net = Net(recipe.core_config(64, 2))
    export(Network.from_core(net, recipe, ["a", "b"], encoding), tmp_path / "big")
    source = tmp_path / "big" / "src" / "edgehff_model.c"
    command = [tool("avr-gcc"), "-mmcu=atmega2560", "-fsyntax-only", f"-I{source.parent}", source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "larger than the memory of an 8-bit AVR" in done.stderr


# ---- a bare compiler


@pytest.mark.toolchain
@pytest.mark.parametrize("kind", ["plain", "window"])
def test_every_source_compiles_for_cortex_m0(exported, tmp_path, kind):
    source = exported(kind, True) / "src"
    compiler = tool("arm-none-eabi-gcc")
    flags = ["-mcpu=cortex-m0", "-mthumb", "-std=c99", "-ffreestanding", "-Os", "-pedantic", *STRICT.split()]
    objects = []
    for path in sorted(source.rglob("*.c")):
        objects.append(tmp_path / f"{path.name}.o")
        run(compiler, "-c", *flags, f"-I{source}", path, "-o", objects[-1])
    linked = tmp_path / "all.o"
    run(compiler, "-mcpu=cortex-m0", "-mthumb", "-nostdlib", "-r", "-o", linked, *objects)
    undefined = {line.split()[-1] for line in run("arm-none-eabi-nm", linked).splitlines() if " U " in line}
    port = set(re.findall(r"\b(ehff_port_\w+)\(", (source / "ehff" / "ehff_port.h").read_text()))
    assert {name for name in undefined if not re.match(r"mem(cpy|set)|__", name)} == port


# ---- manifests


def paths(text):
    """Sources that a manifest names, relative to the folder."""
    return sorted({name.removeprefix("src/") for name in re.findall(r"[\w./]+\.c\b", text)})


@pytest.mark.parametrize("link", [False, True])
def test_every_manifest_has_the_one_list(exported, link):
    folder = exported("plain", link)
    names = [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()]
    wanted = sorted(name.removeprefix("src/") for name in compiled(names))
    assert len(wanted) > 10
    cmake = (folder / "CMakeLists.txt").read_text().replace("port_template.c", "").replace("example.c", "")
    assert paths(cmake) == wanted
    zephyr = (folder / "zephyr" / "CMakeLists.txt").read_text().replace("${edgehff_model}/", "")
    assert paths(zephyr) == wanted
    library = json.loads((folder / "library.json").read_text())
    assert library["build"]["srcFilter"][0] == "-<*>"
    assert sorted(re.fullmatch(r"\+<(.*)>", f)[1] for f in library["build"]["srcFilter"][1:]) == wanted
    # Arduino has no list: it compiles what lies below src.
    assert sorted(str(p.relative_to(folder / "src")) for p in (folder / "src").rglob("*.c")) == wanted


def test_manifests_parse_and_name_files_that_exist(exported):
    folder = exported("plain", True)
    library = json.loads((folder / "library.json").read_text())
    assert (folder / "src" / library["headers"]).is_file()
    lines = (folder / "library.properties").read_text().splitlines()
    properties = dict(line.split("=", 1) for line in lines)
    needed = {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "architectures"}
    assert needed <= properties.keys()
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]*", properties["name"])
    assert (folder / "src" / properties["includes"]).is_file()
    assert properties["version"] == library["version"]
    yaml = pytest.importorskip("yaml")
    module = yaml.safe_load((folder / "zephyr" / "module.yml").read_text())
    assert (folder / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    assert (folder / module["build"]["kconfig"]).is_file()
    component = yaml.safe_load((folder / "idf_component.yml").read_text())
    assert (component["version"], component["license"]) == (library["version"], "Apache-2.0")
    assert component["dependencies"]["idf"].startswith(">=")
    kconfig = "".join(path.read_text() for path in sorted((folder / "zephyr").glob("Kconfig*")))
    used = set(re.findall(r"CONFIG_(\w+)", (folder / "zephyr" / "CMakeLists.txt").read_text()))
    assert set(re.findall(r"^config (\w+)$", kconfig, re.MULTILINE)) == used
    for name in re.findall(r'source "(.*)"', kconfig):
        assert (folder / "zephyr" / name).is_file()


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize(("system", "part"), [(ESP_IDF, "."), (ZEPHYR, "zephyr")], ids=["esp-idf", "zephyr"])
def test_the_cmake_of_a_system_runs_with_stand_ins_for_its_functions(exported, tmp_path, system, part, link):
    folder = exported("window", link)
    shutil.copyfile(folder / "example.c", tmp_path / "main.c")
    project = system.replace("MODEL y)", "MODEL y)\nset(CONFIG_EDGEHFF_MODEL_LINK y)" if link else "MODEL y)")
    project += f"""add_subdirectory({folder / part} edgehff_model)
add_executable(app main.c)
target_link_libraries(app PRIVATE component)
"""
    assert told(program(built(tmp_path, project) / "app")) == expected("window")
    sources = [str(p) for p in (folder / "src").rglob("*.c")]
    objects = [p.stem for p in (tmp_path / "build").rglob("*.c.o") if p.stem != "main.c"]
    assert sorted(objects) == sorted(name.rsplit("/", 1)[1] for name in sources)
