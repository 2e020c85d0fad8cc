#!/usr/bin/env bash
# edgehff on 64-bit Arm without a board: arm64.sh [FOLDER]
#
# Builds the wheel for aarch64, lays an arm64 Debian out in FOLDER (default: build/arm64), and lets one person's
# session run there under QEMU within 256 MB of address space. Its state_crc32 must be the one of this machine.
#
# Needs Debian with gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static, and the package registries.
# Neither root nor dpkg --add-architecture: apt gets folders of its own, and nothing outside FOLDER changes.
set -euo pipefail
repo=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "${1:-$repo/build/arm64}"
work=$(cd "${1:-$repo/build/arm64}" && pwd)
root=$work/root
python=${PYTHON:-$repo/.venv/bin/python}
limit=256M
model=models/emg-gestures/model.safetensors
export PATH="$PATH:/usr/sbin:/sbin"

echo "an arm64 Debian: python3 and what it needs, unpacked without maintainer scripts"
rm -rf "$root" "$work/apt" "$work/dist"
mkdir -p "$work"/apt/{lists,cache/archives}/partial "$root"/usr/{bin,sbin,lib} "$root"/{dev,proc,tmp,root}
ln -s usr/bin usr/sbin usr/lib "$root/"
: >"$work/apt/status"
sources=/etc/apt/sources.list.d/debian.sources
[ -f "$sources" ] || sources=/etc/apt/sources.list
cat >"$work/apt/apt.conf" <<CONF
#clear APT::Update::Post-Invoke-Success;
#clear APT::Update::Post-Invoke;
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "$(id -un)";
Acquire::Languages "none";
Dir::Etc::sourcelist "$sources";
Dir::Etc::sourceparts "-";
Dir::State "$work/apt";
Dir::State::status "$work/apt/status";
Dir::Cache "$work/apt/cache";
CONF
export APT_CONFIG=$work/apt/apt.conf
apt-get -qq update
apt-get -qq -y --download-only install python3 libstdc++6 >/dev/null
unset APT_CONFIG
for package in "$work"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
install -m 755 "$(command -v qemu-aarch64-static)" "$root/qemu-aarch64-static"
version=$(basename "$(readlink "$root/usr/bin/python3")")
version=${version#python}
site=$root/usr/local/lib/python$version/dist-packages

echo "the wheel for aarch64, cross-compiled"
cat >"$work/aarch64.cmake" <<'CMAKE'
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
CMAKE
# Debian's pyconfig.h includes <aarch64-linux-gnu/pythonX.Y/pyconfig.h>; this machine's says the same of the stable ABI
mkdir -p "$work/include"
ln -sfn "/usr/include/$(uname -m)-linux-gnu" "$work/include/aarch64-linux-gnu"
CMAKE_TOOLCHAIN_FILE=$work/aarch64.cmake _PYTHON_HOST_PLATFORM=linux-aarch64 CFLAGS="-idirafter $work/include" \
    "$python" -m pip wheel --quiet --no-index --no-deps --no-build-isolation \
    --config-settings=build-dir="$work/build" --wheel-dir "$work/dist" "$repo"
ls "$work/dist"
"$python" -m pip install --quiet --no-compile --only-binary=:all: --implementation cp --python-version "$version" \
    --abi "cp${version/./}" --abi abi3 --abi none --platform linux_aarch64 --platform manylinux_2_28_aarch64 \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
    --target "$site" "$work"/dist/*.whl 2>&1 | grep -v ' is ignored: ' || true
test -d "$site/edgehff" -a -d "$site/numpy"

echo "the same session here and there"
mkdir -p "$root/srv/tools"
cp "$repo/$model" "$root/srv/emg.safetensors"
cp "$repo"/tools/personalize_*.py "$root/srv/tools/"

# arm64 SECONDS PROGRAM ARGS: in namespaces of its own, root only inside of them
arm64() {
    timeout "$1" unshare -r -m sh -c 'root=$0; limit=$1; shift; mount --rbind /dev "$root/dev"
        exec env -i HOME=/srv LANG=C.UTF-8 PATH=/usr/sbin:/usr/bin QEMU_RESERVED_VA="$limit" \
            chroot "$root" /qemu-aarch64-static "$@"' "$root" "$limit" "${@:2}"
}
"$python" - "$root/srv/new.csv" <<'PYTHON'
import sys
from edgehff.data.sources import load
data = load("emg-gestures")
rows = data.rows(data.group == 8)
with open(sys.argv[1], "w") as stream:
    for n, (x, y) in enumerate(zip(rows.x[:60], rows.y)):
        print(*x.ravel(), "a new one" if n % 5 == 0 else y, sep=",", file=stream)
PYTHON
crc() { sed -n 's/.*"state_crc32": "\([0-9a-f]*\)".*/\1/p'; }
session="personalize /srv/emg.safetensors --group 7 --store /srv/store --json"
goes_on="personalize --store /srv/store --stream /srv/new.csv --new-classes --quiet --json"
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
host=$(cd "$here" && "$python" -m edgehff personalize "$repo/$model" --group 7 --store "$here/store" --json | crc)
new=$(cd "$here" && "$python" -m edgehff personalize --store "$here/store" --stream "$root/srv/new.csv" --new-classes \
    --quiet --json | crc)
arm64 60 /usr/bin/python3 -c 'import platform; print(platform.machine(), platform.python_version())'
arm64 60 /usr/bin/python3 /srv/tools/personalize_pi.py --help >/dev/null
arm64 60 /usr/bin/python3 /srv/tools/personalize_jetson.py --help >/dev/null
# shellcheck disable=SC2086
arm=$(arm64 300 /usr/bin/python3 -m edgehff $session | crc)
# shellcheck disable=SC2086
arm_new=$(arm64 300 /usr/bin/python3 -m edgehff $goes_on | crc)
replayed=$(arm64 300 /usr/bin/python3 -m edgehff replay /srv/store --json | crc | sort -u)
echo "state_crc32: here $host, arm64 within $limit $arm"
echo "with a class that was new: here $new, arm64 $arm_new, replayed there ${replayed//$'\n'/ }"
[ -n "$host" ] && [ "$host" = "$arm" ] && [ -n "$new" ] && [ "$new" != "$host" ]
[ "$new" = "$arm_new" ] && [ "$new" = "$replayed" ]
