"""The command line as a user calls it, within the test's process."""

import json

from edgehff.cli.main import main


def run(capsys, *args):
    """The exit code, stdout and stderr of a command."""
    code = main([str(a) for a in args])
    out = capsys.readouterr()
    return code, out.out, out.err


def document(capsys, *args):
    """The JSON document of a command that must succeed."""
    code, out, err = run(capsys, *args, "--json")
    assert code == 0, err
    return json.loads(out)
