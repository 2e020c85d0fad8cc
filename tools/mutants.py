"""Break the C core in many one-line ways and see whether the vector program goes red.

Each mutant is one exact text of one source replaced by another. It is built with the program of tests/c in a
folder of its own; the originals are only read. A mutant that does not compile is invalid, one that passes has
survived: both end with exit code 1.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
CORE = ROOT / "firmware_bridge" / "core"
TESTS = ROOT / "tests" / "c"
TIMEOUT_S = 30
COMPILER = ["gcc", "-std=c99", "-O1", "-w", "-DTEST_BYTES=2097152", "-DTEST_VALUES=65536"]


class Mutant(NamedTuple):
    """One change: in source, the exact text old, which stands there once, becomes new."""

    name: str
    source: str
    old: str
    new: str


MUTANTS = (
    Mutant("rounding dropped", "math.h", "return shift > 0 ? (v + ((int32_t)1 << (shift - 1))) >> shift : v;", "return v >> shift;"),
    Mutant("64-bit rounding dropped", "math.h", "return shift > 0 ? (v + ((int64_t)1 << (shift - 1))) >> shift : v;", "return v >> shift;"),
    Mutant("pair hash weaker", "math.h", "return h ^ (h >> 13);", "return h ^ (h >> 12);"),
    Mutant("root floor", "math.c", "rest > root || (rest == root && pair != 0)", "rest > root"),
    Mutant("mantissa of 17 bits", "math.c", "for (; v >> 16; s++) v >>= 1;", "for (; v >> 17; s++) v >>= 1;"),
    Mutant("exp2 table off by one", "math.c", "32768, 32066, 31379,", "32768, 32067, 31379,"),
    Mutant("exp2 cut early", "math.c", "if (whole > 15) return 0;", "if (whole > 14) return 0;"),
    Mutant("log2 rounding dropped", "math.c", "* rest + 32768) >> 16)", "* rest) >> 16)"),
    Mutant("unit of 16 bits", "math.c", "for (; bits >> 15; bits >>= 1) s++;", "for (; bits >> 16; bits >>= 1) s++;"),
    Mutant("unit without rounding", "math.c", "(*m * d.inverse + d.half) >> d.down", "(*m * d.inverse) >> d.down"),
    Mutant("seed 0 special", "math.c", "mix(mix(seed + 0x9E3779B9u) + step)", "mix(mix((seed ? seed : 1) + 0x9E3779B9u) + step)"),
    Mutant("step left out of the key", "math.c", "mix(mix(seed + 0x9E3779B9u) + step)", "mix(mix(seed + 0x9E3779B9u))"),
    Mutant("checksum table", "math.c", "0x3B6E20C8u", "0x3B6E20C9u"),
    Mutant("last input skipped", "dot.h", "} while (from < end);", "} while (from + 1 < end);"),
    Mutant("view without rounding", "dot.c", "((int16_t)((w) + 128) >> 8)", "((w) >> 8)"),
    Mutant("relu dropped", "layer.c", "if (*acc < 0) *acc = 0;", ""),
    Mutant("rounding not stochastic", "step.h", "+ (int32_t)(bits)) >> 16;", "+ 32768) >> 16;"),
    Mutant("odd columns share bits", "step.h", "m * right, h >> 16);", "m * right, h & 0xFFFFu);"),
    Mutant("last odd column kept", "step.h", "    if (n & 1) {", "    if (0) {"),
    Mutant("int16 step truncated", "step.h", "(m * *x++ + 8192) >> 14", "(m * *x++) >> 14"),
    Mutant("cap dropped", "step.h", "(net->flags & EHFF_CAP) && norm < mean", "0 && norm < mean"),
    Mutant("cap the wrong way", "step.h", "norm < mean) norm = mean;", "norm > mean) norm = mean;"),
    Mutant("revive at full step", "layer.c", "f = tenth;", "f = factor;"),
    Mutant("revive the wrong sign", "layer.c", "|| t[i] >= 0) continue;", "|| t[i] < 0) continue;"),
    Mutant("rate without inputs", "step.h", "rate = net->lr_w * n_in;", "rate = net->lr_w;"),
    Mutant("limit of int8 weights", "net.h", "#define EHFF_W8_LIMIT 127", "#define EHFF_W8_LIMIT 126"),
    Mutant("limit of int16 weights", "net.h", "#define EHFF_W16_LIMIT 32512", "#define EHFF_W16_LIMIT 32256"),
    Mutant("cosine truncated", "proto.c", "cosine[c] = (int16_t)ehff_round_shift(sum[c], 14);", "cosine[c] = (int16_t)(sum[c] >> 14);"),
    Mutant("int8 prototype scale", "proto.c", "(int64_t)sum[c] * scale[c], 22)", "(int64_t)sum[c] * scale[0], 22)"),
    Mutant("sum of prototypes, not mean", "proto.c", "- ((int32_t)15 << 16) - log2_k;", "- ((int32_t)15 << 16);"),
    Mutant("margin added", "proto.c", "error[label] -= logit_of(net, net->margin);", "error[label] += logit_of(net, net->margin);"),
    Mutant("softmax truncated", "proto.c", "+ ((uint32_t)1 << (15 + shift))) >> (16 + shift)", ") >> (16 + shift)"),
    Mutant("gradient not projected", "proto.c", "do *at++ = -along * *u++;", "do *at++ = 0 * *u++;"),
    Mutant("prototype threshold", "proto.c", "if (k > -8 && k < 8) continue;", "if (k > -9 && k < 9) continue;"),
    Mutant("prototype pushed away", "proto.c", "(int32_t)*from++ * 16 - ehff_round_shift", "(int32_t)*from++ * 16 + ehff_round_shift"),
    Mutant("gate includes its edge", "net.c", ">= ehff_times_q8((int32_t)net->kappa", "> ehff_times_q8((int32_t)net->kappa"),
    Mutant("gate flipped", "net.c", ">= ehff_times_q8((int32_t)net->kappa", "<= ehff_times_q8((int32_t)net->kappa"),
    Mutant("running mean slower", "net.c", "layer->norm_sum += norm - (layer->norm_sum >> 10);", "layer->norm_sum += norm - (layer->norm_sum >> 11);"),
    Mutant("running mean from zero", "net.c", "layer->norm_sum = norm << 10;", "layer->norm_sum = norm;"),
    Mutant("last layer is the first", "net.c", "const int last = l + 1 == ehff_n_layers(net);", "const int last = l == 0;"),
    Mutant("join weight", "net.c", "logit[c] - sum, weight)", "logit[c] - sum, 256)"),
    Mutant("frozen layers learn", "net.c", "if (label >= 0 && l >= net->first_layer) learn(", "if (label >= 0) learn("),
    Mutant("ties to the higher class", "net.c", "if (v > top) {", "if (v >= top) {"),
    Mutant("step not counted", "net.c", "net->step++;", ""),
    Mutant("label unchecked", "net.c", "if (label >= net->n_classes) return EHFF_ERR_LABEL;", ""),
    Mutant("length unchecked", "net.c", "? EHFF_ERR_RANGE : EHFF_OK;", "? EHFF_OK : EHFF_OK;"),
    Mutant("int8 prototypes train", "net.c", "if (net->proto_bits != 16) return EHFF_ERR_FROZEN;", ""),
    Mutant("arena unchecked", "shape.c", "if (arena_bytes < s.ram_bytes || ", "if ("),
    Mutant("weights unchecked", "state.c", "if (weight_magnitude(net, layer, i) > weight_limit(net)) return EHFF_ERR_RANGE;", ";"),
    Mutant("state without seed", "state.c", "crc = crc_u32(crc, net->seed);", ""),
    Mutant("blob fields swapped", "blob.c", "put16(b, e->n_channels), e->n_segments)", "put16(b, e->n_segments), e->n_channels)"),
    Mutant("blob checksum unchecked", "load.c", "return EHFF_ERR_CRC;", ";"),
    Mutant("segment always the first", "encode.c", "for (t = s * length; t < (s + 1) * length; t++) sum +=", "for (t = 0; t < length; t++) sum +="),
    Mutant("encoder bias forgotten", "encode.c", "        f[n] = e->bias;", "        f[n] = 0;"),
    Mutant("clamp lets one more through", "math.h", "> 2 * (uint32_t)limit)", "> 2 * (uint32_t)limit + 1)"),
    Mutant("clamp of negatives dropped", "math.h", "v = v < 0 ? -limit : limit;", "v = limit;"),
    Mutant("power's line", "math.c", ") * rest; /* Q26 */", ") * (rest + 1); /* Q26 */"),
    Mutant("logarithm of zero", "math.c", "if (v == 0) return 0;", "if (v == 1) return 0;"),
    Mutant("unit's sign", "math.c", "if (*a++ < 0) v = -v;", "a++;"),
    Mutant("unit of small values", "math.c", "for (; bits >> 14 == 0; bits <<= 1) s--;", "for (; bits >> 13 == 0; bits <<= 1) s--;"),
    Mutant("layer left out of the key", "math.c", " + layer * 0x85EBCA77u", ""),
    Mutant("row key", "math.c", "row * 0xC2B2AE3Du", "row * 0xC2B2AE35u"),
    Mutant("running mean's limit", "net.h", "0x3FFFFFu", "0x3FFFFEu"),
    Mutant("cap always", "step.h", "(net->flags & EHFF_CAP) && norm < mean", "norm < mean"),
    Mutant("row step's limit", "math.c", "return ehff_clamp(v, 32767);", "return ehff_clamp(v, 32766);"),
    Mutant("row step of small shifts", "math.c", "else if (v >= -32768 && v <= 32767)", "else if (v >= 0 && v <= 32767)"),
    Mutant("largest logit is the first", "proto.c", "if (v > top) top = v;", ""),
    Mutant("label is any class", "proto.c", "error[label] -= 32768;", "error[0] -= 32768;"),
    Mutant("prototypes share equally", "proto.c", "        softmax(share, k);\n", "        for (i = 0; i < k; i++) share[i] = (int32_t)(32768 / k);\n"),
    Mutant("own class counts as the next", "net.c", "if (c != label && logit[c] > next)", "if (logit[c] > next)"),
    Mutant("hands on the updated u", "net.c", "        x = u;\n", "        bits = ehff_layer_forward(net, layer, x, s.acc), ehff_unit_of(s.acc, layer->n_out, bits, u, &root, &shift), x = u;\n"),
    Mutant("NULL not checked", "net.c", "    if (label == NULL) return EHFF_ERR_NULL;\n", ""),
    Mutant("start values wider", "net.c", "bell(row, j) * 7095", "bell(row, j) * 7096"),
    Mutant("saturation not counted", "state.c", "== weight_limit(net);", "> weight_limit(net);"),
    Mutant("weight of -128 let through", "state.c", "> weight_limit(net)) return", "> weight_limit(net) + 1) return"),
    Mutant("checksum's byte order", "state.c", "b[0] = (uint8_t)v;\n        b[1] = (uint8_t)(v >> 8);", "b[1] = (uint8_t)v;\n        b[0] = (uint8_t)(v >> 8);"),
    Mutant("blob's length ignored", "load.c", "if (ehff_get32(b + 40) != bytes) return EHFF_ERR_FORMAT;", ""),
    Mutant("length not written", "blob.c", "    head.blob_bytes = whole;\n", ""),
    Mutant("loaded network not checked", "load.c", "int status = ehff_net_check(net);", "int status = EHFF_OK;"),
    Mutant("unit of the logarithm", "encode.c", "maybe_log(e, sum, length)", "maybe_log(e, sum, 1)"),
    Mutant("gain past 32 bits", "encode.c", "if (e->gain[i] >> 15 && upper", "if (0 && upper"),
    Mutant("arena's alignment unchecked", "shape.c", " || !ehff_aligned(arena)) return", ") return"),
    Mutant("logarithm's table", "math.c", "2909,  5732", "2909,  5733"),
    Mutant("plain encoder's bias forgotten", "encode.c", "SPREAD(x, n, e->n_segments, e->bias);", "SPREAD(x, n, e->n_segments, 0);"),
    Mutant("sign of a plain unit", "math.c", "if (*x < 0) v = -v;", ""),
    Mutant("plain unit of -32768", "math.c", "    if (at < end) {\n", "    if (0) {\n"),
    Mutant("plain unit of small values", "math.c", "&inverse_shift) << up;", "&inverse_shift);"),
    Mutant("third of the last rows", "dot.h", "if (rows > 2) *y++ = c;", "if (rows > 2) y++;"),
    Mutant("rate's upper part", "step.h", "if (rate >> 16)", "if (0)"),
    Mutant("row step's lower part", "math.c", "((lower * factor) >> 16)", "(0)"),
    Mutant("score without its sum", "net.c", "score != NULL || ehff_n_layers(net) > 1 ||", "ehff_n_layers(net) > 1 ||"),
    Mutant("offset's lower part", "encode.c", "- (offset & 0xFFFF)", ""),
    Mutant("sum of squares past 31 bits", "math.c", "            low -= (uint32_t)1 << 31;\n            high++;\n        }\n    } while (at", "            low -= (uint32_t)1 << 31;\n        }\n    } while (at"),
    Mutant("patch beyond the last row", "conv.c", "if (row < 0 || row >= c->in_h) {", "if (row < 0) {"),
    Mutant("patch before the first row", "conv.c", "if (row < 0 || row >= c->in_h) {", "if (row >= c->in_h) {"),
    Mutant("patch beyond the last column", "conv.c", "return rest < (int32_t)kernel ? rest : (int32_t)kernel;", "return (int32_t)kernel;"),
    Mutant("patch before the first column", "conv.c", "{ return at < 0 ? -at : 0; }", "{ return at < 0 ? -at - 1 : 0; }"),
    Mutant("padding after the columns kept", "conv.c", "for (; j < run; j++) patch[j] = 0;", ";"),
    Mutant("stride of the rows", "conv.c", "k / c->pool_w) * c->stride_h)", "k / c->pool_w) * c->stride_w)"),
    Mutant("padding of the columns", "conv.c", "* c->stride_w) - c->pad_w;", "* c->stride_w) - c->pad_h;"),
    Mutant("depthwise view without rounding", "conv.c", "(((const int16_t *)weights)[i] + 128) >> 8", "((const int16_t *)weights)[i] >> 8"),
    Mutant("depthwise taps by columns", "conv.c", "i * c->kernel_w + (uint32_t)j, taps", "i * c->kernel_h + (uint32_t)j, taps"),
    Mutant("map not rectified", "conv.c", "if (y[o] < 0) y[o] = 0;", ";"),
    Mutant("last of equal maxima", "conv.c", "if (y[o] > acc[o]) acc[o]", "if (y[o] >= acc[o]) acc[o]"),
    Mutant("mean of truncated shares", "conv.c", "acc[o] += ehff_round_shift(y[o], share)", "acc[o] += y[o] >> share"),
    Mutant("mean by half its share", "conv.c", "for (n--; n != 0; n >>= 1) bits++;", "for (; n > 1; n >>= 1) bits++;"),
    Mutant("mean's share in the step", "conv.c", "if (c->pool == EHFF_POOL_MEAN) shift +=", "if (0) shift +="),
    Mutant("route of the mean kept from before", "conv.c", "if (k == 0) acc[o] = 0, route[o] = 0;\n                        if (y[o] > 0)", "if (k == 0) acc[o] = 0;\n                        if (y[o] > 0)"),
    Mutant("cells by width", "conv.c", "return h * c->grid_h / c->out_h * c->grid_w + w", "return h * c->grid_h / c->out_h * c->grid_h + w"),
    Mutant("cells start late", "conv.c", "w * c->grid_w / c->out_w;", "(w * c->grid_w + c->grid_w - 1) / c->out_w;"),
    Mutant("cell's weight truncated", "conv.c", "((of_cell >> (down - 1)) + 1) >> 1 : of_cell", "of_cell >> down : of_cell"),
    Mutant("silent positions learn", "conv.c", "if (q == 0 || (u[at] == 0 && !dead)) continue;", "if (q == 0) continue;"),
    Mutant("largest position forgotten", "conv.c", "c->pool == EHFF_POOL_MAX ? route[at] : 0)", "0)"),
    Mutant("all of a mean's window learn", "conv.c", "if (route[at] >> k & 1) add_patch", "add_patch"),
    Mutant("dead channels lowered", "conv.c", "dead && of_cell > 0 ? 0", "dead && of_cell < 0 ? 0"),
    Mutant("dead channels' scale of all cells", "conv.c", "if (!dead || t[i * rows + o] < 0) bits", "bits"),
    Mutant("dead channels without the switch", "conv.c", "if (dead && !(net->flags & EHFF_REVIVE)) continue;", ""),
    Mutant("dead channels at full step", "conv.c", "dead ? tenth : factor", "factor"),
    Mutant("dead by the first position", "conv.c", "for (; o < n; o += rows)\n        if (u[o] != 0) return 0;", "if (o < n && u[o] != 0) return 0;"),
    Mutant("mantissas of 13 bits", "conv.c", "int32_t s = -13;", "int32_t s = -12;"),
    Mutant("mantissas truncated", "conv.c", "s > 0 ? ehff_round_shift(gradient[j], s)", "s > 0 ? gradient[j] >> s"),
    Mutant("weights of cells in 8 bits", "conv.c", "for (; bits >> 8; bits >>= 1) down++;", "for (; bits >> 7; bits >>= 1) down++;"),
    Mutant("gradient of the channel before", "conv.c", "for (i = 0; i < layer->n_in; i++) gradient[i] = 0;", "for (i = 0; o == 0 && i < layer->n_in; i++) gradient[i] = 0;"),
    Mutant("shift cut early", "conv.c", "if (own > 47) continue;", "if (own > 30) continue;"),
    Mutant("length of the sum over the grid", "net.c", "norm = norm_times(norm, root, shift);", ""),
    Mutant("length not saturated", "net.c", "return product > (EHFF_NORM_MAX >> shift) ? EHFF_NORM_MAX : product << shift;", "return product << shift;"),
    Mutant("prototypes see the last cell", "net.c", "head = s.head;", "head = u;"),
    Mutant("forged maps let in", "shape.c", "!t->is_open && !same(&w->conv, &given)", "0"),
    Mutant("map of 65,536 columns", "conv.c", " || h > UINT16_MAX || w > UINT16_MAX) return", ") return"),
    Mutant("kernel's fan-in unchecked", "conv.c", " || ehff_conv_fan_in(c) > EHFF_MAX_DIM) return", ") return"),
    Mutant("fields after the first loose", "conv.c", "|| c->reserved != 0)", ")"),
    Mutant("scratch without a patch", "conv.c", "head + ehff_conv_fan_in(c) + patch_words(c));", "head);"),
    Mutant("convolution's table not saved", "blob.c", "if (ehff_has_conv(net)) next(", "if (0) next("),
    Mutant("one layer's weight", "net.c", " || weight != 256)", ")"),
)  # fmt: skip


def sources() -> list[str]:
    """The C files that the core's CMakeLists.txt lists."""
    return re.findall(r"src/(\w+\.c)", (CORE / "CMakeLists.txt").read_text(encoding="utf-8"))


def compile_program(folder: Path) -> list[str]:
    """Compile the vector program without the core; returns its objects, which serve every mutant."""
    vectors = sorted((ROOT / "tests" / "vectors").glob("*.json"))
    converter = [sys.executable, str(ROOT / "tools" / "vectors_to_c.py"), str(folder / "vector_tables.h")]
    subprocess.run([*converter, *map(str, vectors)], check=True)
    objects = []
    for path in sorted(TESTS.glob("*.c")):
        objects.append(str(folder / f"{path.stem}.o"))
        include = [f"-I{CORE / 'include'}", f"-I{folder}"]
        subprocess.run([*COMPILER, *include, "-c", str(path), "-o", objects[-1]], check=True)
    return objects


def compile_core(core: Path, names: list[str]) -> dict[str, str]:
    """Compile these sources of a copy of the core; returns each one's object. CalledProcessError: it is no C."""
    include = [f"-I{core / 'include'}", f"-I{core / 'src'}"]
    objects = {name: str(core / f"{name}.o") for name in names}
    for name, made in objects.items():
        command = [*COMPILER, *include, "-c", str(core / "src" / name), "-o", made]
        subprocess.run(command, capture_output=True, check=True)
    return objects


def outcome(mutant: Mutant | None, whole: dict[str, str], objects: list[str], folder: Path) -> str:
    """Build and run one mutant, or the original for None: "caught", "survived" or "invalid".

    whole: objects of the original core, which serve for the sources that a mutant leaves as they are.
    """
    core, again = folder / "core", []
    shutil.copytree(CORE, core)
    if mutant is not None:
        path = core / "src" / mutant.source
        text = path.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            return "invalid"
        path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        again = [mutant.source] if mutant.source.endswith(".c") else sources()
    program = folder / "program"
    try:
        parts = whole | compile_core(core, again)
        command = [*COMPILER, *parts.values(), *objects, "-o", str(program)]
        subprocess.run(command, capture_output=True, check=True)
    except subprocess.CalledProcessError:
        return "invalid"
    try:
        done = subprocess.run([str(program)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return "caught"
    finally:
        shutil.rmtree(folder)
    return "survived" if done.returncode == 0 else "caught"


def main() -> int:
    """Try every mutant; print a table, and close with the numbers of caught and survived."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        objects = compile_program(folder)
        shutil.copytree(CORE, folder / "whole")
        whole = compile_core(folder / "whole", sources())
        if outcome(None, whole, objects, folder / "original") != "survived":
            print("the vector program fails without any mutant", file=sys.stderr)
            return 1
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [pool.submit(outcome, m, whole, objects, folder / str(i)) for i, m in enumerate(MUTANTS)]
            results = [job.result() for job in jobs]
    for mutant, result in zip(MUTANTS, results, strict=True):
        print(f"{result:9s} {mutant.source:9s} {mutant.name}")
    survived, invalid = results.count("survived"), results.count("invalid")
    print(f"{results.count('caught')} caught, {survived} survived, {invalid} invalid")
    return 1 if survived or invalid else 0


if __name__ == "__main__":
    sys.exit(main())
