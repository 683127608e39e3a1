"""Kills at random moments, then many writers at once. Prints the seed, and stops at the first difference.

    python -m cdr_assets_tests.soak [--kills 200] [--seconds 60] [--seed N]

About a second a kill on a quiet machine, and half a minute for each round of 25, in which everything is looked at.
"""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from cdr_assets_tests.soak.kills import Kills
from cdr_assets_tests.soak.processes import Difference
from cdr_assets_tests.soak.writers import Writers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="0 for none")
    parser.add_argument("--kills-a-round", type=int, default=25, help="after so many, everything is looked at")
    parser.add_argument("--seconds", type=float, default=60, help="how long the writers work; 0 for none")
    parser.add_argument("--writers", type=int, default=16)
    parser.add_argument("--requests-per-minute", type=int, default=240, help="the pace of the writers' last part")
    parser.add_argument("--seed", type=int, default=None, help="of what happens; another one each time if not given")
    given = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    folder = Path(tempfile.mkdtemp(prefix="cdr-soak-"))
    print(f"seed {seed}, in {folder}", flush=True)
    try:
        if given.kills:
            kills = Kills(_new(folder / "kills"), seed, say=_say)
            kills.run(given.kills, given.kills_a_round)
            _say(f"kills by kind: {dict(kills.kinds)}; by what they had got: {dict(kills.moments)}")
        if given.seconds:
            Writers(_new(folder / "writers"), seed, given.writers, say=_say).run(given.seconds)
            paced = Writers(_new(folder / "paced"), seed, given.writers, say=_say)
            paced.run(given.seconds / 2, given.requests_per_minute)
    except Difference as difference:
        sys.exit(f"\n{difference}\n\nseed {seed}; everything is left in {folder}")
    shutil.rmtree(folder)
    print(f"all is right, with seed {seed}")


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    main()
