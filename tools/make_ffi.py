"""Write the C of the Python module from the core's header: make_ffi.py HEADER OUTPUT (called by CMake).

The header is the only place where the functions are declared: comments and preprocessor lines are taken
out, and numeric constants are declared as "#define NAME ...", which cffi fills in from the compiler.
"""

import re
import sys
from pathlib import Path

from cffi import FFI


def declarations(header: str) -> str:
    """Return the declarations of the header as cffi reads them."""
    code = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    constants = re.findall(r"^#define (EHFF_\w+) \d+ *$", code, flags=re.MULTILINE)
    lines = [line for line in code.splitlines() if not line.startswith(("#", 'extern "C"'))]
    while lines and lines[-1].strip() in ("", "}"):
        lines.pop()  # the end of extern "C"
    return "\n".join([*(f"#define {name} ..." for name in constants), *lines])


def main(header: str, output: str) -> None:
    """Turn the header into a cffi API-mode module edgehff._ffi, written to output."""
    ffi = FFI()
    ffi.cdef(declarations(Path(header).read_text(encoding="utf-8")))
    ffi.set_source("edgehff._ffi", '#include "ehff/ehff.h"')
    ffi.emit_c_code(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
