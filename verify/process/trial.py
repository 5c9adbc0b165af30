"""What every trial that is run alone has in common: its arguments, its scratch folder, its seed, its last line."""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import traceback


class NotRun(Exception):
    """This machine does not permit the trial; says what is missing."""


def main(name, description, trial, add_arguments=None):
    """Runs `trial(options, scratch, dice)`, which returns what it measured. Never returns.

    Exit code 0: held, or `not run: ...` was printed; 1: did not hold, the seed is printed and the files are kept.
    """
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("binary")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    if add_arguments:
        add_arguments(parser)
    options = parser.parse_args()
    options.binary = os.path.abspath(options.binary)
    print(f"{name}: seed {options.seed}", flush=True)
    scratch = tempfile.mkdtemp(prefix=f"quorate-{name}-")
    began = time.monotonic()
    try:
        said = trial(options, scratch, random.Random(options.seed))
    except NotRun as reason:
        print(f"not run: {name}: {reason}", flush=True)
    except Exception:
        traceback.print_exc()
        print(f"FAIL  {name} (seed {options.seed}; files kept in {scratch})", flush=True)
        sys.exit(1)
    else:
        print(f"ok    {name}: {said} [{time.monotonic() - began:.1f} s]", flush=True)
    shutil.rmtree(scratch, ignore_errors=True)
    sys.exit(0)
