"""For the tests of the exported folder: models, what Python's core makes of them, and stand-ins for SDKs."""

import re
import shutil
from functools import cache

import numpy as np
import pytest
from builds import run

from edgehff.core import Net
from edgehff.geometry import ConvLayer
from edgehff.model.encoding import Encoding
from edgehff.model.network import Network
from edgehff.recipe import EncoderRecipe, Recipe, lr_p_of, lr_w_of
from firmware_bridge.export import class_name

STRICT = "-Wall -Wextra -Werror"
NAMES = {
    "plain": ("zero", "one", "two", "three"),
    "window": ('quote " and \\', "*/ x", "%s%n ??/", "naïve 東京"),
    "frozen": ("a", "b"),
    "maps": ("up", "down", "left"),
}


@cache
def network(kind):
    """plain: int8, 64 bytes. window: int16, standardized features. frozen: int8 prototypes, no learning.

    maps: int16, convolutions of both kinds over 8 x 8 values and a constant channel, and a dense layer.
    """
    rng = np.random.default_rng(1)
    names, arith = NAMES[kind], "int16" if kind in ("window", "maps") else "int8"
    if kind == "window":
        n, low, high = 15, -3000, 3000
        table = {"offset": rng.integers(-9, 9, n).astype(np.int32), "gain": np.full(n, 900, np.uint16)}
        shape = {"features": ("rms",), "segments": 5, "bias": 4096, "gain_shift": 9}
        encoding = Encoding("int16", (20, 3), **shape, **table)
    else:
        low, high = 0, 17
        encoding = Encoding("uint8", (64, 1), **({"segments": 64, "bias": 9} if kind == "maps" else {}))
    recipe = Recipe(layers=(16, 9), arith=arith, encoder=EncoderRecipe(), seed=4)
    if kind == "maps":
        conv = (
            ConvLayer(6, kernel=(3, 2), padding=(1, 0), pool="max", pool_size=(2, 2), grid=(2, 2)),
            ConvLayer(6, "depthwise", pool="mean", pool_size=(2, 1)),
        )
        recipe = recipe.replace(layers=(9,), conv=conv, input_shape=(8, 8, 2))
    net = Net(recipe.core_config(encoding.n_features, len(names)))
    x = rng.integers(low, high, (40, encoding.n_raw)).astype(encoding.raw)
    net.train(encoding.to_core().encode(x), (np.arange(40) % len(names)).astype(np.uint16))
    made = Network.from_core(net, recipe, names, encoding)
    return made.with_int8_prototypes() if kind == "frozen" else made


def expected(kind):
    """Class and state before and after the step that the examples take, by Python's core."""
    n = network(kind)
    net = n.to_core()
    net.set_rates(lr_w_of(n.recipe.personal_lr), lr_p_of(n.recipe.personal_lr_prototypes))
    raw = (np.arange(n.encoding.n_raw) % 100).astype(n.encoding.raw)[None]
    x, out = n.encoding.to_core().encode(raw), []
    for step in range(1 if kind == "frozen" else 2):
        if step:
            net.train(x, np.zeros(1, np.uint16))
        label = int(net.predict(x)[0])
        out.append((label, class_name(n.class_names[label]).decode(), net.state_crc32))
    if kind != "frozen":
        assert out[0][2] != out[1][2]
    return out


def told(text):
    """The same as an example printed it."""
    found = re.findall(r"class (\d+) (.*), state ([0-9a-fA-F]+)", text)
    return [(int(label), name, int(state, 16)) for label, name, state in found]


def tool(name):
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


def built(folder, project, language="C"):
    """Build a CMake project of this text with strict warnings; where the build is."""
    tool("cmake")
    if project:
        (folder / "CMakeLists.txt").write_text(f"cmake_minimum_required(VERSION 3.16)\n{project}")
    flags = [f"-DCMAKE_{name}_FLAGS={STRICT}" for name in ("C", "CXX")[: 1 + (language == "CXX")]]
    run("cmake", "-S", folder, "-B", folder / "build", *flags)
    run("cmake", "--build", folder / "build")
    return folder / "build"


def program(path):
    """What the program prints."""
    return run(path, encoding="utf-8", timeout=60)


CORE = """#pragma once
#include <avr/io.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#undef abs
#define abs(x) ((x) > 0 ? (x) : -(x))
#define round(x) ((x) >= 0 ? (long)((x) + 0.5) : (long)((x) - 0.5))
#define bit(b) (1UL << (b))
#define word(...) 0
#define F(text) text
#define HEX 16
typedef uint8_t byte;
typedef bool boolean;

struct Port {
    void begin(unsigned long) { UCSR0B = 1 << TXEN0; }
    operator bool() { return true; }
    int available() { return (UCSR0A & (1 << RXC0)) != 0; }
    int read() { return UDR0; }
    void write(uint8_t c)
    {
        while (!(UCSR0A & (1 << UDRE0))) {
        }
        UDR0 = c;
    }
    void print(const char *s)
    {
        while (*s) write((uint8_t)*s++);
    }
    void print(unsigned long v, int base = 10)
    {
        char text[12];
        print(ultoa(v, text, base));
    }
    void print(uint16_t v) { print((unsigned long)v); }
    void println(unsigned long v, int base = 10)
    {
        print(v, base);
        print("\\n");
    }
    void println(const char *s)
    {
        print(s);
        print("\\n");
    }
};
extern Port Serial;
static inline unsigned long micros() { return 0; }
void setup();
void loop();
"""

MAIN_OF_ARDUINO = """#include <Arduino.h>
#include <avr/interrupt.h>
#include <avr/sleep.h>

Port Serial;

int main()
{
    setup();
    loop();
    cli();
    sleep_enable();
    sleep_cpu(); // with interrupts off: simavr ends
    return 0;
}
"""

MEGA = ["-mmcu=atmega2560", "-DF_CPU=16000000L", "-DARDUINO=10819", "-DARDUINO_ARCH_AVR"]
BOTH = [*MEGA, "-g", "-Os", "-ffunction-sections", "-fdata-sections", "-flto", *STRICT.split()]
C = [*BOTH, "-std=gnu11", "-fno-fat-lto-objects"]
CPP = [*BOTH, "-std=gnu++11", "-fpermissive", "-fno-exceptions", "-fno-threadsafe-statics"]


def sketch(folder, library, name):
    """Build an example as Arduino's builder does: every source of the library below src, with -Isrc alone."""
    tool("avr-gcc")
    core = folder / "core"
    core.mkdir()
    (core / "Arduino.h").write_text(CORE)
    (core / "main.cpp").write_text(MAIN_OF_ARDUINO)
    example = library / "examples" / name
    sketch_cpp = folder / f"{name}.ino.cpp"
    sketch_cpp.write_text("#include <Arduino.h>\n" + (example / f"{name}.ino").read_text())
    below = sorted(p for p in (library / "src").rglob("*") if p.suffix in (".c", ".cpp"))
    own = [core / "main.cpp", sketch_cpp, *sorted(example.glob("*.cpp"))]
    objects = {}
    for path in [*below, *own]:
        compiler, flags = ("avr-gcc", C) if path.suffix == ".c" else ("avr-g++", CPP)
        objects[path] = folder / f"{len(objects)}-{path.name}.o"
        run(compiler, "-c", *flags, f"-I{core}", f"-I{library / 'src'}", path, "-o", objects[path])
    archive = folder / "library.a"  # dot_a_linkage
    for path in below:
        run("avr-gcc-ar", "rcs", archive, objects[path])
    elf = folder / f"{name}.elf"
    flags = [*MEGA, "-Os", "-g", "-flto", "-fuse-linker-plugin", "-Wl,--gc-sections"]
    run("avr-gcc", *flags, "-o", elf, *[objects[path] for path in own], archive, "-lm")
    return elf


def section(elf, name):
    """The bytes of an ELF file's section: .data lies in RAM and in flash both."""
    raw = elf.with_suffix(name)
    run("avr-objcopy", "-O", "binary", "-j", name, elf, raw)
    return raw.read_bytes()


MAIN_OF_LINK = """#include <stdio.h>

#include "edgehff_model.h"
#include "edgehff_model_link.h"

static uint32_t arena[(EDGEHFF_MODEL_ARENA_BYTES + 3) / 4];
static uint32_t memory[(EDGEHFF_MODEL_FRAME_BYTES + 3) / 4];
static ehff_link serial_link;

int main(void)
{
    int byte;
    edgehff_model_link_init(&serial_link, arena, sizeof arena, memory, sizeof memory, 0);
    while ((byte = getchar()) != EOF) ehff_link_byte(&serial_link, (uint8_t)byte);
    return 0;
}
"""

ESP_IDF = """project(app LANGUAGES C)
set(ESP_PLATFORM 1)
function(idf_component_register)
  cmake_parse_arguments(A "" "" "SRCS;INCLUDE_DIRS;REQUIRES;PRIV_REQUIRES" ${ARGN})
  if(A_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "unknown: ${A_UNPARSED_ARGUMENTS}")
  endif()
  add_library(component STATIC ${A_SRCS})
  target_include_directories(component PUBLIC ${A_INCLUDE_DIRS})
endfunction()
"""

ZEPHYR = """project(app LANGUAGES C)
set(CONFIG_EDGEHFF_MODEL y)
add_library(interface INTERFACE)
function(zephyr_include_directories)
  target_include_directories(interface INTERFACE ${ARGN})
endfunction()
function(zephyr_library_named name)
  add_library(component STATIC)
  target_link_libraries(component PUBLIC interface)
endfunction()
function(zephyr_library_sources)
  target_sources(component PRIVATE ${ARGN})
endfunction()
function(zephyr_library_sources_ifdef switch)
  if(${${switch}})
    target_sources(component PRIVATE ${ARGN})
  endif()
endfunction()
"""
