"""A hub that does not answer is asked once; one that answers, as usual."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ASKING = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from huggingface_hub import get_session, hf_hub_download
from asim_lightning.backbone import BackboneConfig, build_backbone
from asim_lightning.hub import asked_once

asked, cache = [], sys.argv[1]

class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self):
        asked.append(self.path)
        self.send_response(404)
        self.send_header("X-Error-Code", "RepoNotFound")
        self.end_headers()
    def log_message(self, *args):
        pass

def errors(address):
    for file in ("config.json", "model.safetensors"):
        try:
            hf_hub_download("some/modle", file, endpoint=address, cache_dir=cache)
        except Exception as error:
            yield type(error).__name__

server = HTTPServer(("127.0.0.1", 0), Hub)
Thread(target=server.serve_forever, daemon=True).start()
address, before = f"http://127.0.0.1:{server.server_port}", get_session().event_hooks
with asked_once():
    answered = list(errors(address))
server.shutdown()
server.server_close()  # nothing listens there any more
start = time.monotonic()
with asked_once():
    silent = list(errors(address))
asking = {"repo_id": "some/modle", "filename": "config.json", "endpoint": address, "cache_dir": cache}
try:
    build_backbone(BackboneConfig(network="huggingface_hub.hf_hub_download", kwargs=asking, image_size=8), 10)
except ValueError as error:
    silent.append(type(error).__name__)
seconds, is_as_before = time.monotonic() - start, get_session().event_hooks == before
print(json.dumps([answered, asked, silent, seconds, is_as_before]))
"""


@pytest.mark.process
def test_a_hub_that_does_not_answer_is_asked_once(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    command = [sys.executable, "-c", ASKING, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    answered, asked, silent, seconds, is_as_before = json.loads(done.stdout)
    assert answered == ["RepositoryNotFoundError"] * 2
    files = [f"/some/modle/resolve/main/{file}" for file in ("config.json", "model.safetensors")]
    assert asked == ["/", *files]  # one more request, for both files
    assert silent == ["LocalEntryNotFoundError"] * 2 + ["ValueError"]
    assert seconds < 10  # the client's own repetitions take 23 a file
    assert is_as_before
