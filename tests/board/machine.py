"""QEMU with its serial line, its monitor and its gdb stub on sockets of this machine."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from firmware_bridge.boards import board
from firmware_bridge.transport import SerialTransport

START_S = 30
REPLY_S = 60


class Machine:
    """An emulated board whose line stays open over resets; it runs until kill().

    flash: {address: bytes} that its memory holds at the start.
    """

    def __init__(self, name, elf, *, flash=None, gdb=False):
        self._lines = []
        self._folder = tempfile.TemporaryDirectory(prefix="edgehff-qemu-")
        folder = Path(self._folder.name)
        program, *arguments = (part.format(elf=elf) for part in board(name).emulator)
        command = [program, *arguments, "-nographic", "-monitor", "none"]
        command += ["-serial", "tcp:127.0.0.1:0,server=on,wait=off,nodelay=on"]
        command += ["-qmp", f"unix:{folder / 'qmp'},server=on,wait=off"]
        if gdb:
            command += ["-S", "-chardev", f"socket,id=gdb,path={folder / 'gdb'},server=on,wait=off"]
            command += ["-gdb", "chardev:gdb"]
        for address, memory in (flash or {}).items():
            path = folder / f"{address:x}.bin"
            path.write_bytes(memory)
            command += ["-device", f"loader,file={path},addr={address:#x},force-raw=on"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            self._lines.append(self._connected(folder / "qmp"))
            self._qmp = self._lines[0].makefile("rw")
            self._lines.append(self._qmp)
            self._qmp.readline()
            self.ask("qmp_capabilities")
            lines = [c["filename"] for c in self.ask("query-chardev") if "tcp:" in c["filename"]]
            self.port = int(re.search(r":(\d+),", lines[0])[1])
            if gdb:
                self._lines.append(self._connected(folder / "gdb"))
                self.gdb = Gdb(self._lines[-1])
        except BaseException:
            self.kill()
            raise

    def _connected(self, path):
        deadline = time.monotonic() + START_S
        while True:
            line = socket.socket(socket.AF_UNIX)
            line.settimeout(REPLY_S)
            try:
                line.connect(str(path))
            except OSError:
                line.close()
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise
                time.sleep(0.01)
            else:
                return line

    def ask(self, command, **arguments):
        """A monitor command's answer."""
        self._qmp.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._qmp.flush()
        while True:
            said = json.loads(self._qmp.readline())
            if "return" in said:
                return said["return"]
            assert "error" not in said, said

    def transport(self):
        return SerialTransport(f"socket://127.0.0.1:{self.port}")

    def reset(self):
        """As the reset button; memory keeps what is in it."""
        self.ask("system_reset")

    def hang(self):
        os.kill(self.process.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self):
        self.process.kill()
        for line in self._lines:
            with contextlib.suppress(OSError):  # what was not sent yet stays unsent
                line.close()
        self.process.wait()
        self._folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


class Gdb:
    """As much of gdb's remote protocol as breakpoints and memory need."""

    def __init__(self, line):
        self._line, self._came, self._breaks = line, b"", ()

    def ask(self, text):
        """The answer to a packet; to c and s it comes when the machine stops."""
        self.send(text)
        return self.answer()

    def send(self, text):
        packet = text.encode()
        self._line.sendall(b"$%s#%02x" % (packet, sum(packet) % 256))

    def answer(self):
        while True:
            match = re.search(rb"\$([^#]*)#..", self._came, re.DOTALL)
            if match:
                self._came = self._came[match.end() :]
                self._line.sendall(b"+")
                return match[1].decode()
            data = self._line.recv(65536)
            assert data, "the emulator ended"
            self._came += data

    def interrupt(self):
        """Stop a machine that runs."""
        self._line.sendall(b"\x03")
        return self.answer()

    def memory(self, address, n):
        """n bytes from address on."""
        out = b""
        while len(out) < n:
            some = min(1024, n - len(out))
            out += bytes.fromhex(self.ask(f"m{address + len(out):x},{some:x}"))
        return out

    def break_at(self, *addresses):
        """Stop there from now on. A machine that stands at one of them goes on with go_on() alone."""
        self._breaks = addresses
        for address in addresses:
            assert self.ask(f"Z0,{address:x},2") == "OK"

    def go_on(self):
        """Run up to the next breakpoint; answer() waits for it."""
        for address in self._breaks:
            assert self.ask(f"z0,{address:x},2") == "OK"
        self.step()
        self.break_at(*self._breaks)
        self.send("c")

    def step(self):
        """One instruction."""
        assert self.ask("s").startswith("T05")
