"""pyope, timing itself. One request a line, `OPERATION COUNT`; the answer is nanoseconds of processor time for COUNT of it.

Each request takes values it has not had before, so that no cache of the library answers.
"""

import random
import sys
import time
from importlib.metadata import version

from pyope.ope import OPE, ValueRange

KEY = b"0123456789abcdef0123456789abcdef"
# As its documentation starts ("default input and output ranges"), and as wide as an ordered field of Sealdex.
CIPHERS = {
    "order15": (OPE(KEY), 15),
    "order32": (OPE(KEY, in_range=ValueRange(0, 2**32 - 1), out_range=ValueRange(0, 2**48 - 1)), 32),
}
rng = random.Random(1)

assert all(c.encrypt(1000) < c.encrypt(2000) < c.encrypt(3000) for c, _ in CIPHERS.values())
print("ready", version("pyope"), flush=True)
for line in sys.stdin:
    operation, count = line.split()
    cipher, bits = CIPHERS[operation]
    values = [rng.getrandbits(bits) for _ in range(int(count))]
    started = time.process_time_ns()
    for value in values:
        cipher.encrypt(value)
    print(time.process_time_ns() - started, flush=True)
