"""Starts the stand-alone emulator (examples/emulator.rs) and talks to it over its standard input and output."""

import json
import subprocess


class Emulator:
    def __init__(self, program, *arguments):
        self.process = subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts = json.loads(self.process.stdout.readline())

    def __getattr__(self, name):
        return self.__dict__["facts"][name]

    def tell(self, **command):
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    def fix(self, answers):
        self.tell(fix=answers)

    def reset(self):
        self.tell(reset=True)

    def row(self, data):
        return self.tell(row=data)["row"]

    def calls(self):
        return self.tell(calls=True)["calls"]

    def remarks(self):
        return self.tell(remarks=True)["remarks"]

    def stop(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)
