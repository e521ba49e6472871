"""Long acceptance runs of training and of reports, row by row; a row that is done is not done again when this is called again.

python benchmarks/acceptance.py                 all rows
python benchmarks/acceptance.py kills cached    some of them
python benchmarks/acceptance.py --list

A row's result is a JSON file in benchmarks/results/acceptance with the command, versions, data hash, time and machine. While rows
are being done they lie in --work (default .cache/acceptance), from where they are taken over when the row is whole. Rows on real
recordings need MULTIMODAL_SER_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import report_rows
import training_rows

from multimodal_ser._files import write_json
from multimodal_ser.training.run_folder import environment

ROWS = {**training_rows.ROWS, **report_rows.ROWS}
RESULTS = Path(__file__).resolve().parent / "results" / "acceptance"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", help="which (default: all)")
    parser.add_argument("--list", action="store_true", help="names of the rows")
    parser.add_argument("--again", action="store_true", help="do rows again that are done")
    parser.add_argument("--work", default=".cache/acceptance", help="folder of what is being done")
    args = parser.parse_args()
    if args.list:
        for name, row in ROWS.items():
            print(f"{name:<24} {(row.__doc__ or '').splitlines()[0]}")
        return 0
    unknown = sorted(set(args.rows) - set(ROWS))
    if unknown:
        parser.error(f"expected some of {', '.join(ROWS)}, got {', '.join(unknown)}")
    failed = 0
    for name in args.rows or ROWS:
        work = Path(args.work) / name
        done = work / "result.json"
        if done.exists() and not args.again:
            print(f"{name}: done before", flush=True)
        else:
            work.mkdir(parents=True, exist_ok=True)
            began = time.monotonic()
            result = ROWS[name](work)
            machine = {"processor": processor(), "cores": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS")}
            about = {
                "row": name,
                "seconds": round(time.monotonic() - began, 1),
                "machine": machine,
                "environment": environment(),
            }
            hashes = {
                json.loads(path.read_text(encoding="utf-8")).get("data_hash") for path in work.rglob("scores.json")
            }
            write_json(
                done, {"data_hash": sorted(hashes - {None})} | result | about
            )  # the summary of several seeds has none
        result = json.loads(done.read_text(encoding="utf-8"))
        RESULTS.mkdir(parents=True, exist_ok=True)
        write_json(RESULTS / f"{name}.json", result)
        failed += not result["passed"]
        print(f"{name}: {'passed' if result['passed'] else 'FAILED'} {json.dumps(result['figures'])}", flush=True)
    return 1 if failed else 0


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    sys.exit(main())
