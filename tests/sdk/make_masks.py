"""Writes src/encord/testdata/bitmasks.json: masks as the official SDK encodes them, with their bounds in pixels.

    python tests/sdk/make_masks.py
"""

import json
import pathlib
import random

import numpy as np
from encord.objects.bitmask import BitmaskCoordinates

TARGET = pathlib.Path(__file__).resolve().parents[2] / "src/encord/testdata/bitmasks.json"


def mask(number, dice):
    width, height = dice.randint(1, 40), dice.randint(1, 30)
    pixels = np.zeros((height, width), dtype=bool)
    if number == 3:
        pixels[:] = True
    elif number % 5 != 4:
        left, top = dice.randrange(width), dice.randrange(height)
        right, bottom = dice.randrange(left, width) + 1, dice.randrange(top, height) + 1
        pixels[top:bottom, left:right] = np.random.RandomState(number).rand(bottom - top, right - left) > 0.4
    return pixels


def bounds(pixels):
    ys, xs = np.nonzero(pixels)
    return [int(n) for n in (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)] if len(xs) else None


dice = random.Random(4)
masks = [mask(number, dice) for number in range(30)]
lines = [json.dumps({"bitmask": BitmaskCoordinates(pixels).to_dict(), "bounds": bounds(pixels)}) for pixels in masks]
TARGET.write_text("[" + ",\n ".join(lines) + "]\n")
