# SPDX-License-Identifier: Apache-2.0
# What a decision of the policies takes. No lab: the engine alone, on the core where the rest is measured.
import json
import os

from . import system

COLUMNS = {"policies_10_us": "10 policies", "policies_10000_us": "10 000 policies",
           "policies_10_cold_us": "10, caches cold", "policies_10000_cold_us": "10 000, caches cold"}
PROGRAM = "culvert_decide"


def program(generator):
    """It is built beside the generator."""
    return os.path.join(os.path.dirname(generator), PROGRAM)


def measure(generator, core):
    """Cells by column, as those of a row."""
    path = program(generator)
    if not os.access(path, os.X_OK):
        raise system.Trouble(f"there is no {path}: scripts/build {PROGRAM} makes it, or leave out the column decide")
    process = system.start([path], core=core, stdout=system.subprocess.PIPE, stderr=system.subprocess.PIPE, text=True)
    out, words = process.communicate(timeout=120)
    if process.returncode != 0:
        raise system.Trouble(f"{PROGRAM}: {words.strip() or f'status {process.returncode}'}")
    return json.loads(out.strip().splitlines()[-1])
