#!/usr/bin/env python3
"""Runs conformance vectors from files against an adapter, without `blockjob`.

    blockjob vectors --out vectors
    python3 run.py vectors python3 engine.py

For those who keep the vectors beside their own tests. It prints the vectors that fail, one a line, and ends with
1 if there are any.
"""

import json
import pathlib
import subprocess
import sys


def fits(expected, seen):
    """What the adapter adds is its own affair; a refusal's class and text may be left out."""
    optional = ("class", "desc")
    return all(seen[key] == value if key in seen else key in optional for key, value in expected.items())


def play(vector, send, receive):
    """Nothing if it passes; else what was wrong. `cannot` skips it."""
    send({"do": "begin", "vector": vector["name"]})
    here = {0}
    while True:
        seen = receive()
        states = [vector["states"][state] for state in here]
        if seen["see"] == "rest":
            rests = [state["rest"] for state in states if state["rest"]]
            if any(rest.get("passed") for rest in rests):
                return None
            if not rests:
                return "is at rest, and something is due"
            here = {rest["then"] for rest in rests}
            send(vector["sends"][rests[0]["send"]])
        elif seen["see"] == "cannot":
            settle(receive)
            return None
        else:
            here = {
                edge["then"] for state in states for edge in state["see"] if fits(edge["observation"], seen)
            }
            if not here:
                settle(receive)
                return f"{json.dumps(seen)} is not allowed"


def settle(receive):
    while receive()["see"] != "rest":
        pass


def main(folder, *command):
    adapter = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def send(line):
        print(json.dumps(line), file=adapter.stdin, flush=True)

    def receive():
        line = adapter.stdout.readline()
        if not line:
            sys.exit("the adapter has ended")
        return json.loads(line)

    played = failed = 0
    folder = pathlib.Path(folder)
    for file in json.loads((folder / "index.json").read_text())["files"]:
        for vector in json.loads((folder / file["file"]).read_text())["vectors"]:
            played += 1
            wrong = play(vector, send, receive)
            if wrong:
                failed += 1
                print(f"{vector['name']}: {wrong}")
    adapter.stdin.close()
    adapter.wait()
    print(f"{played} vectors, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: run.py FOLDER COMMAND...")
    sys.exit(main(*sys.argv[1:]))
