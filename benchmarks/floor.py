"""The floor: msgspec decodes each line of stdin, and nothing else is done."""

from __future__ import annotations

import sys

import msgspec

if __name__ == "__main__":
    decoder = msgspec.json.Decoder()
    for line in sys.stdin.buffer:
        decoder.decode(line)
