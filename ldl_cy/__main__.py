"""The command line: ``ldl-cy`` or ``python -m ldl_cy``."""
from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ldl_cy._version import __version__


def parser() -> argparse.ArgumentParser:
    """The argument parser, with all commands and options."""
    top = argparse.ArgumentParser(
        prog="ldl-cy", description="Deep learning as linear algebra, in Cython over SciPy's BLAS.")
    top.add_argument("--version", action="version", version=f"ldl_cy {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="command")
    demo = commands.add_parser(
        "demo", help="train small networks on scikit-learn's data and check what they reach",
        description="Trains a linear regression, an MLP, a CNN, an Elman RNN and an LSTM, prints one table "
        "and draws one picture. The exit code is 1 where a target is missed.")
    demo.add_argument(
        "--output", default="ldl_cy_demo.png", metavar="PNG", help="the picture (default: %(default)s)")
    demo.add_argument("--quick", action="store_true", help="two epochs each; targets are not checked")
    convert = commands.add_parser(
        "convert", help="convert a network from one kind of file to another",
        description="Reads a network from a .keras, .onnx, .safetensors or .ldl file and writes it as another one. "
        ".safetensors files are those of save_weights, .ldl those of save; .keras is written by Keras.")
    convert.add_argument("source", metavar="IN", help="the file that is there")
    convert.add_argument("target", metavar="OUT", help="the file to write; its name says of which kind")
    convert.add_argument("--check", action="store_true",
                         help="compare the outputs of both files on random rows; the exit code is 1 if they differ")
    commands.add_parser(
        "info", help="show versions, BLAS, instruction set and threads",
        description="Shows what this copy of ldl_cy runs on.")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, default=None
        The arguments after the program's name; None reads ``sys.argv``.

    Returns
    -------
    int
        The exit code: 0, or 1 if the demo misses a target or a network cannot be converted.
    """
    top = parser()
    arguments = top.parse_args(argv)
    # imported here, so that --help and --version are fast
    if arguments.command == "info":
        from ldl_cy.info import show

        return show()
    if arguments.command == "convert":
        from ldl_cy.interop.convert import READ, convert, kind

        for path in (arguments.source, arguments.target):
            if kind(path) is None:
                top.error(f"convert: files must end in {', '.join(READ)}, got {path}")
        return convert(arguments.source, arguments.target, arguments.check)
    from ldl_cy.demo import run

    if not Path(arguments.output).resolve().parent.is_dir():
        top.error(f"--output: there is no folder for {arguments.output}")
    return run(output=arguments.output, quick=arguments.quick)


if __name__ == "__main__":
    sys.exit(main())
