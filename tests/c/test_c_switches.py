"""A build that leaves parts out refuses what asks for them, and computes the rest to the same bits."""

import shutil
import subprocess

import pytest
from builds import ROOT, run
from test_c_targets import BARE, TARGETS

CORE = ROOT / "firmware_bridge" / "core"
# by each switch: two layers, int16, int8 prototypes, two a class, log, window, convolution, bias in segments
REFUSED = {
    "EHFF_MAX_LAYERS=1": "0 1 1 1 1 1 1 1",
    "EHFF_WITH_INT16=0": "1 0 1 1 1 1 1 1",
    "EHFF_WITH_INT8_PROTOS=0": "1 1 0 1 1 1 1 1",
    "EHFF_WITH_MULTI=0": "1 1 1 0 1 1 1 1",
    "EHFF_WITH_WINDOW=0": "1 1 1 1 0 0 1 1",
    "EHFF_WITH_CONV=0": "1 1 1 1 1 1 0 0",
}
PROGRAM = r"""
#include <stdio.h>
#include "ehff/ehff.h"
static uint32_t arena[256];
int main(void)
{
    static const uint32_t dims[3] = {9, 6, 5};
    static const int32_t offset[8] = {3, -3, 0, 9, 1, 2, 70000, -70000};
    static const ehff_conv conv = {3, 3, 1, EHFF_CONV, 3, 3, 1, 1, 1, 1, EHFF_POOL_NONE, 1, 1, 1, 1, 0, 0, 0};
    static const uint16_t gain[8] = {1, 40000, 3, 7, 65535, 9, 11, 65535};
    ehff_config c = {dims, NULL, NULL, 1, EHFF_INT8, EHFF_JOIN_SUM_LOGP, EHFF_CAP | EHFF_REVIVE, 16, 3, 1,
                     30000, 900, 6000, 80000, 1600, 7};
    ehff_encoder e = {EHFF_RAW_U8, EHFF_ENC_PLAIN, 0, 0, 3, 77, 8, 1, 1, offset, gain};
    ehff_sizes s;
    ehff_net *net;
    ehff_config other = c;
    ehff_encoder window = e;
    int16_t x[9];
    uint8_t raw[8];
    uint16_t answer;
    int32_t score[3];
    uint32_t i, j, crc = 0;
    other.n_layers = 2;
    printf("%d ", ehff_net_sizes(&other, &s) == EHFF_OK);
    other = c;
    other.recipe = EHFF_INT16;
    printf("%d ", ehff_net_sizes(&other, &s) == EHFF_OK);
    other = c;
    other.proto_bits = 8;
    printf("%d ", ehff_net_sizes(&other, &s) == EHFF_OK);
    other = c;
    other.n_per_class = 2;
    printf("%d ", ehff_net_sizes(&other, &s) == EHFF_OK);
    window.log = 1;
    printf("%d ", ehff_encoder_sizes(&window, NULL, NULL, NULL) == EHFF_OK);
    window = e;
    window.kind = EHFF_ENC_WINDOW;
    window.features = EHFF_FEAT_MAV;
    printf("%d ", ehff_encoder_sizes(&window, NULL, NULL, NULL) == EHFF_OK);
    other = c;
    other.conv = &conv;
    printf("%d ", ehff_net_sizes(&other, &s) == EHFF_OK);
    window = e;
    window.n_segments = 2;
    printf("%d\n", ehff_encoder_sizes(&window, NULL, NULL, NULL) == EHFF_OK);
    if (ehff_net_init(&c, arena, sizeof arena, &net) != EHFF_OK) return 1;
    for (i = 0; i < 200; i++) {
        for (j = 0; j < 8; j++) raw[j] = (uint8_t)(i * 37 + j * j * 11 + i % 3 * 50 * (j & 1));
        if (ehff_encode(&e, raw, 8, NULL, 0, x) != EHFF_OK) return 2;
        if (ehff_net_train(net, x, 9, (uint16_t)(i % 3), &answer) != EHFF_OK) return 3;
        if (ehff_net_predict(net, x, 9, &answer, score) != EHFF_OK) return 4;
        crc = ehff_crc32(crc, (const uint8_t *)score, sizeof score);
    }
    if (ehff_net_check(net) != EHFF_OK) return 5;
    printf("%08x %08x\n", (unsigned)crc, (unsigned)ehff_net_state_crc32(net));
    return 0;
}
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """said(definitions) is what the program says when it and the core are built with them."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    folder = tmp_path_factory.mktemp("switches")
    (folder / "program.c").write_text(PROGRAM, encoding="utf-8")

    def output(definitions):
        flags = ["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined,address"]
        command = [
            "gcc",
            *flags,
            *(f"-D{d}" for d in definitions),
            f"-I{CORE / 'include'}",
            f"-I{CORE / 'src'}",
        ]
        sources = [*sorted((CORE / "src").glob("*.c")), folder / "program.c"]
        run(*command, *sources, "-o", folder / "program")
        done = subprocess.run([folder / "program"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return output


@pytest.mark.toolchain
def test_what_is_left_out_is_refused_and_the_rest_keeps_its_bits(said):
    allowed, results = said([])
    assert allowed == "1 1 1 1 1 1 1 1"
    for switch, expected in REFUSED.items():
        assert said([switch]) == [expected, results], switch
    assert said(REFUSED) == ["0 0 0 0 0 0 0 0", results]


@pytest.mark.toolchain
@pytest.mark.parametrize("target", TARGETS)
def test_the_smallest_build_compiles_without_a_warning(configure, target):
    compiler, flags, _ = TARGETS[target]
    configure(
        "firmware_bridge/core",
        compiler,
        " ".join([flags, *(f"-D{switch}" for switch in REFUSED)]),
        *(() if target == "x86-64" else BARE),
    )
