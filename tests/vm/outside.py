"""What is outside the box: the emulated Encord backend, the media store and the stand-in model, on this host's loopback.

The machine reaches them as 10.0.2.2, so an outage of the box is none of theirs.
"""

import json
import subprocess
from pathlib import Path

HOST = "10.0.2.2"


class Outside:
    def __init__(self, emulator: Path, folder: Path, host=HOST):
        command = [emulator, "--folder", folder, "--media-host", host]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = json.loads(self._process.stdout.readline())
        self.encord = said["encord_domain"].replace("127.0.0.1", host)
        self.model = said["model_base_url"].replace("127.0.0.1", host)
        self.key = Path(said["ssh_key_file"])
        self.project, self.image = said["project"], said["image"]
        # Each click is on a frame of its own, of which the emulator's own video has too few.
        self.video = self.tell(add_video={"frames": 200, "width": 320, "height": 192})["data"]
        self.folder, self.dataset = said["folder"], said["dataset"]

    def tell(self, **command):
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def frames_answered(self, data: str) -> list[int]:
        """The frames that have an answer in the item's label row as it is saved."""
        row = self.tell(row=data)["row"] or {}
        ranges = [answer["range"] for answer in row.get("classification_answers", {}).values()]
        return sorted(frame for spans in ranges for first, last in spans for frame in range(first, last + 1))

    def end(self):
        self._process.stdin.close()
        self._process.wait(timeout=20)
