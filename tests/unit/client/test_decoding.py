"""Unit tests of decoding: models are safe to use in several threads."""

from __future__ import annotations

import subprocess
import sys

_FIRST_USE_IN_THREADS = """
import sys
import threading

from target_activecampaign.client.decoding import Model, Text, read_model

sys.setswitchinterval(1e-6)
answer = {"id": 1, "owner": {"name": "x"}, "others": [{"name": "y"}]}
for _ in range(300):

    class Owner(Model, frozen=True):
        name: Text

    class Thing(Model, frozen=True):
        id: int
        owner: Owner
        others: list[Owner]

    together = threading.Barrier(4)

    def read():
        together.wait()
        read_model(answer, Thing, "thing")

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print("all read")
"""


def test_models_can_be_used_first_in_several_threads() -> None:
    command = [sys.executable, "-c", _FIRST_USE_IN_THREADS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "all read\n", "")
