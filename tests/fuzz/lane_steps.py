"""Steps of the lane target: how one script becomes another.

Owns:      the moves of a mutator that knows where steps begin and end.
Called by: tests.fuzz.child, for every other input of the lane target; libFuzzer's own
           mutator changes the bytes within steps.
"""

import random
from functools import cache

from tests.fuzz.lane import STEP
from tests.fuzz.lane_seeds import SCRIPTS

_THINGS = b"t t- p P H E R X r e S F n g +E +e +t e- r- p-".split()
_MOST_MOVES = 4


@cache
def _known() -> list[bytes]:
    return sorted({step for script in SCRIPTS for step in script})


def mutate(data: bytes, chosen: random.Random) -> bytes:
    """Return a script near this one: steps added, taken out, cut in two or moved."""
    steps = data.split(STEP)
    for _ in range(chosen.randint(1, _MOST_MOVES)):
        at = chosen.randrange(len(steps) + 1)
        match chosen.randrange(7):
            case 0:
                steps.insert(at, chosen.choice(_known()))
            case 1:
                steps.insert(at, chosen.choice(_THINGS))
            case 2:
                steps[at:at] = chosen.choice(SCRIPTS)
            case 3 if len(steps) > 1:
                steps.pop(at - 1)
            case 4 if len(steps) > 1:
                steps.insert(at - 1, steps.pop(chosen.randrange(len(steps))))
            case 5:
                # Another segment border, with whatever may happen in between.
                whole = steps[at % len(steps)]
                letter = whole[: 2 if whole.startswith(b"+") else 1]
                cut = chosen.randint(len(letter), max(len(letter), len(whole)))
                place = at % len(steps)
                steps[place : place + 1] = [whole[:cut], letter + whole[cut:]]
            case _:
                # Before anything that is due has run, or after.
                step = steps[at - 1]
                steps[at - 1] = step[1:] if step.startswith(b"+") else b"+" + step
    return STEP.join(steps)
