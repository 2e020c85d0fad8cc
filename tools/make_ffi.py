"""Write the C of the Python module from the declarations: make_ffi.py CDEF OUTPUT (called by CMake)."""

import sys
from pathlib import Path

from cffi import FFI


def main(cdef: str, output: str) -> None:
    """Turn the declarations in file cdef into a cffi API-mode module edgehff._ffi, written to output."""
    ffi = FFI()
    ffi.cdef(Path(cdef).read_text(encoding="utf-8"))
    ffi.set_source("edgehff._ffi", '#include "ehff/ehff.h"')
    ffi.emit_c_code(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
