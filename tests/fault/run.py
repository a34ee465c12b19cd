#!/usr/bin/env python3
"""Runs the experiments of this directory, one after the other: all, or those
whose names begin with what --only says.  The last line is "N passed, N
failed"."""

import argparse
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent


def chosen(only):
    scripts = sorted(HERE.glob("r[0-9][0-9]*_*.py"))
    if only:
        scripts = [s for s in scripts
                   if any(s.name.startswith(word) for word in only)]
    return scripts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default="", help="r01, or several")
    parser.add_argument("--user")
    options = parser.parse_args()

    scripts = chosen(options.only.replace(",", " ").split())
    failed = []
    for script in scripts:
        command = [sys.executable, str(script)]
        if options.quick:
            command.append("--quick")
        if options.user:
            command += ["--user", options.user]
        began = time.monotonic()
        # a quick one that fails is tried once more, and that is told
        for left in (1, 0) if options.quick else (0,):
            if not subprocess.run(command, stdin=subprocess.DEVNULL).returncode:
                break
            if left:
                print("-- %s: FAILED, tried again" % script.name, flush=True)
        else:
            failed.append(script.name)
        print("-- %s: %.0f s" % (script.name, time.monotonic() - began),
              flush=True)
    if failed:
        print("failed: %s" % " ".join(failed))
    print("%d passed, %d failed" % (len(scripts) - len(failed), len(failed)))
    return 1 if failed or not scripts else 0


if __name__ == "__main__":
    sys.exit(main())
