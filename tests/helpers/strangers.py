"""Cases in a process of their own, which must neither crash nor hang: each ends with a result or with a sentence.

    def a_case(n): ...
    ended = run(a_case, 3)          # Ended: what it returned, or the error that ended it

The function is found again by its file and its name, so it must be one of a test file's own, and what it takes and
returns must go through JSON. The process is a new one, not a fork. Several cases may share one: see ``run_all``.
"""
from __future__ import annotations

import importlib.util
import inspect
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HELPERS = Path(__file__).resolve().parent
SECONDS = 120                   # for one case; the slowest takes a few, and more under a sanitizer
ROUNDS = int(os.environ.get("LDL_CY_ROUNDS") or 1)      # how often what depends on the moment is tried; ci/full: 5
# the address sanitizer maps terabytes: a limit of the address space ends the process
LIMITS_MEMORY = "libasan" not in os.environ.get("LD_PRELOAD", "")
ENDS: Counter[str] = Counter()  # how the cases of this session ended: "result" or "sentence"


@dataclass(frozen=True)
class Ended:
    """How a case ended.

    Attributes
    ----------
    value : what it returned; None if an exception ended it
    error : the name of the exception's class, "" if there was none
    text : the exception's message
    """

    value: Any = None
    error: str = ""
    text: str = ""

    def result(self) -> Any:
        """What the case returned; an AssertionError if an exception ended it."""
        assert not self.error, f"{self.error}: {self.text}"
        return self.value

    def says(self, error: str, start: str) -> bool:
        """Whether it ended with an exception of this class whose message begins so."""
        return self.error == error and self.text.startswith(start)


def run(case: Callable[..., Any], *arguments: Any, seconds: float = SECONDS) -> Ended:
    """Run one case in a new process; an AssertionError if that crashes or hangs."""
    return run_all(case, [arguments], seconds=seconds)[0]


def run_all(case: Callable[..., Any], arguments: Sequence[Sequence[Any]], *, seconds: float = SECONDS) -> list[Ended]:
    """The same for several lists of arguments, one after the other in one process, whose start takes most of the time.

    An AssertionError names the arguments with which it crashed or hung.
    """
    with tempfile.TemporaryDirectory() as folder:
        report, errors = Path(folder, "report"), Path(folder, "errors")
        task = json.dumps([str(Path(inspect.getfile(case)).resolve()), case.__name__, [list(a) for a in arguments]])
        with errors.open("wb") as stderr:
            # away from the source folder, which would be imported instead of the installed package
            process = subprocess.Popen([sys.executable, "-X", "faulthandler", __file__, str(report)], cwd=folder,
                                       stdin=subprocess.PIPE, stdout=stderr, stderr=stderr, text=True)
            assert process.stdin is not None
            process.stdin.write(task)
            process.stdin.close()
            how = wait(process, report, seconds)
        ends = [Ended(*json.loads(line)) for line in report.read_text().splitlines()] if report.exists() else []
        ENDS.update("sentence" if ended.error else "result" for ended in ends)
        if how or len(ends) < len(arguments):
            which = arguments[len(ends)] if len(ends) < len(arguments) else "the end of the process"
            said = errors.read_text(errors="replace")[-4000:]
            raise AssertionError(f"{case.__name__}: {which} {how or 'ended the process'}\n{said}")
    return ends


def wait(process: subprocess.Popen[str], report: Path, seconds: float) -> str:
    """Wait until the process ends; how it failed, "" if it did not. Each case has ``seconds``."""
    done, since = 0, time.monotonic()
    while process.poll() is None:
        time.sleep(0.02)            # between two looks at the report
        size = report.stat().st_size if report.exists() else 0
        if size != done:
            done, since = size, time.monotonic()
        if time.monotonic() - since > seconds:
            process.kill()
            process.wait()
            return f"did not end within {seconds} s"
    code = process.returncode
    return "" if code == 0 else f"ended the process with code {code}"


def main() -> None:
    """The process of the cases: reads them from its input, writes a line to the report for each that has ended."""
    path, name, arguments = json.loads(sys.stdin.read())
    sys.path[:0] = [str(HELPERS), str(Path(path).parent)]
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    own = os.getpid()
    with open(sys.argv[1], "w") as report:
        for given in arguments:
            try:
                ended = Ended(getattr(module, name)(*given))
            except BaseException as error:
                ended = Ended(None, type(error).__name__, str(error))
            if os.getpid() != own:
                os._exit(70)            # a child of the case's came back here
            report.write(json.dumps([ended.value, ended.error, ended.text]) + "\n")
            report.flush()


if __name__ == "__main__":
    main()
