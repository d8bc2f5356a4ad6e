"""Secrets that would be recognised anywhere, given in every way there is, and every byte searched for them afterwards.

The real commands run at simulated clouds over HTTP and SSH, with all that `BREVPLAN_LOG=trace` says. Searched are what
they print and log, the state, plan files, caches, every other file that they write, and the arguments of every process
that they start. A secret may stand only where its owner has put it: in the configuration, the environment, the
credentials file, the key file, and at the cloud.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

from bench.clouds import Served, simulated
from bench.measure import BREVPLAN

pytestmark = pytest.mark.slow

API_KEY = "canary-apikey-7Hq2/xZ+9"
TOKEN = "canary-token-Lw83kq"
SCRIPT = "canary-script-Pz51vn"
LIMIT_S = 60
CLOUDS = ("lambda", "shadeform")
VARIABLES = {"lambda": "LAMBDA_API_KEY", "shadeform": "SHADEFORM_API_KEY"}

PROJECT = """
brevplan {{
  project = "canary"
}}

{block}
variable "token" {{
  type      = string
  sensitive = true
}}

variable "key" {{
  type      = string
  default   = ""
  sensitive = true
}}

resource "firewall" "web" {{
  ingress {{
    from_port = 443
    protocol  = "tcp"
  }}
}}

resource "instance" "node" {{
  instance_type = "gpu_1x_a10"
  location      = "us-west-1"
  public_key    = file("key.pub")
  firewalls     = [firewall.web]
  user_data     = "#!/bin/sh\\n# {script}\\nexport TOKEN=${{var.token}}\\n"

  ssh {{
    port             = {port}
    private_key_file = "key"
    timeout          = "30s"
  }}
}}

output "token" {{
  value     = var.token
  sensitive = true
}}

output "ip" {{
  value = instance.node.public_ip
}}
"""


@dataclass
class Owner:
    """Somebody with secrets. `shown` is what commands have printed, `arguments` those of every process that ran."""

    home: Path
    environment: dict[str, str]
    secrets: dict[str, str]
    shown: bytearray = field(default_factory=bytearray)
    arguments: bytearray = field(default_factory=bytearray)
    given: set[Path] = field(default_factory=set)

    @property
    def project(self) -> Path:
        return self.home / "project"

    def puts(self, path: Path, text: str) -> None:
        """Write a file in which secrets may stand."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        self.given.add(path)

    def run(self, *words: str, codes: tuple[int, ...] = (0,)) -> str:
        process = subprocess.Popen(
            [BREVPLAN, *words], cwd=self.project, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        watcher = threading.Thread(target=self._watch, args=(process,))
        watcher.start()
        try:
            shown = process.communicate(timeout=LIMIT_S)[0]
        finally:
            process.kill()
            process.wait()
            watcher.join(LIMIT_S)
        self.shown += f"\n$ {words[0]}\n".encode() + shown
        text = shown.decode()
        assert process.returncode in codes, text[-2000:]
        assert "Traceback" not in text
        return text

    def _watch(self, process: subprocess.Popen[bytes]) -> None:
        """Gather the arguments of the command and of what it starts, by their session."""
        while process.poll() is None:
            for path in Path("/proc").glob("[0-9]*"):
                try:
                    if int((path / "stat").read_text().rpartition(")")[2].split()[3]) == process.pid:
                        self.arguments += (path / "cmdline").read_bytes() + b"\n"
                except (OSError, IndexError, ValueError):
                    continue  # it ended meanwhile
            time.sleep(0.01)

    def leaks(self) -> list[str]:
        """Give where a secret stands that its owner has not put there."""
        places = {"output": bytes(self.shown), "arguments": bytes(self.arguments)}
        for path in sorted(self.home.rglob("*")):
            if path.is_file() and path not in self.given:
                places[str(path.relative_to(self.home))] = path.read_bytes()
        return [
            f"{name} in {place}: …{content[max(0, content.find(form) - 80) :][:160]!r}"
            for name, secret in self.secrets.items()
            for form in _forms(secret)
            for place, content in places.items()
            if form in content
        ]


def _forms(secret: str) -> set[bytes]:
    """Give a secret as it may be written: as it is, in JSON, in a URL, in base64 at any offset."""
    plain = secret.encode()
    forms = {plain, json.dumps(secret)[1:-1].encode(), quote(secret, safe="").encode()}
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + plain)
        forms.add(coded[4 if offset else 0 : -4])
    return forms


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    home = tmp_path / "home"
    (home / "project").mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("BREVPLAN_", "XDG_"))}
    for name in VARIABLES.values():
        environment.pop(name, None)
    environment |= {"HOME": str(home), "BREVPLAN_LOG": "trace", "NO_COLOR": "1", "BREVPLAN_VAR_token": TOKEN}
    subprocess.run(
        [sys.executable, "-c", "import asyncssh; key = asyncssh.generate_private_key('ssh-ed25519'); "
         "key.write_private_key('key'); key.write_public_key('key.pub')"],
        cwd=home / "project", timeout=LIMIT_S, check=True,
    )  # fmt: skip
    found = Owner(home, environment, {"API key": API_KEY, "token": TOKEN, "script": SCRIPT})
    key = home / "project" / "key"
    found.secrets["private key"] = key.read_text().splitlines()[3]
    found.puts(key, key.read_text())
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def declares(owner: Owner, block: str, port: int = 22) -> None:
    owner.puts(owner.project / "main.hcl", PROJECT.format(block=block, script=SCRIPT, port=port))


def block_of(served: Served, cloud: str, way: str, owner: Owner) -> str:
    """Give the provider block for a way of giving the key, and give it that way."""
    lines = served.block(cloud).splitlines(keepends=True)
    without = "".join(line for line in lines if "api_key" not in line)
    if way == "literal":
        return "".join(lines)
    if way == "variable":
        owner.puts(owner.project / "secret.auto.vars.hcl", f'key = "{API_KEY}"\n')
        return without.replace("{\n", "{\n  api_key = var.key\n", 1)
    if way == "environment":
        owner.environment[VARIABLES[cloud]] = API_KEY
    else:
        path = owner.home / ".config" / "brevplan" / "credentials.json"
        owner.puts(path, json.dumps({cloud: {"api_key": API_KEY}}))
    return without


@pytest.mark.parametrize(
    ("cloud", "way"),
    [("lambda", "literal"), ("lambda", "credentials"), ("shadeform", "variable"), ("shadeform", "environment")],
)
def test_no_command_lets_a_secret_out(cloud: str, way: str, owner: Owner, tmp_path: Path) -> None:
    port = free_port()
    with simulated(tmp_path, f"-key={API_KEY}", f"-ssh-port={port}", names=[cloud]) as served:
        declares(owner, block_of(served, cloud, way, owner), port)
        owner.run("validate")
        owner.run("plan", "-detailed-exitcode", codes=(2,))
        owner.run("plan", "-json")
        owner.run("plan", "-md")
        owner.run("plan", "-out=first.plan")
        owner.run("show", "first.plan")
        owner.run("show", "-json", "first.plan")
        owner.run("apply", "first.plan")
        owner.run("plan", "-detailed-exitcode")
        assert "(sensitive value)" in owner.run("show")
        owner.run("show", "-json")
        assert TOKEN not in owner.run("output")
        for words in (("state", "pull"), ("discover",), ("history",), ("providers",), ("ssh-config",), ("graph",)):
            owner.run(*words)
        owner.run("offers", "-gpu=A10:1", "-json")
        (owner.project / "brevplan.db").unlink()
        owner.run("rebuild")
        owner.run("destroy", "-auto-approve")
    assert b"TRACE" in owner.shown, "nothing was traced"
    assert str(BREVPLAN).encode() in owner.arguments, "no process was looked at"
    assert owner.leaks() == []


@contextmanager
def echoing() -> Iterator[str]:
    """Serve an API that refuses everything, and tells the world what it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sent = f"{self.headers.get('Authorization')} {self.headers.get('X-API-KEY')}"
            told = {
                "error": {"code": "global/invalid-api-key", "message": f"bad key: {sent}"},
                "message": f"bad {sent}",
            }
            content = json.dumps(told).encode()
            self.send_response(401)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *words: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join(LIMIT_S)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_refusal_that_echoes_the_key(cloud: str, owner: Owner) -> None:
    with echoing() as endpoint:
        declares(owner, f'provider "{cloud}" {{\n  api_key  = "{API_KEY}"\n  endpoint = "{endpoint}"\n}}\n')
        for words in (("apply", "-auto-approve"), ("plan", "-json"), ("discover", "-json"), ("offers",)):
            owner.run(*words, codes=(0, 1))
    assert b"(secret)" in owner.shown, "the echo was not heard"
    assert owner.leaks() == []


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_key_in_the_endpoint_is_refused_and_not_shown(cloud: str, owner: Owner) -> None:
    key = API_KEY.replace("/", "").replace("+", "")
    owner.secrets["API key"] = key
    for endpoint in (f"http://{key}@127.0.0.1:9/v1", f"http://user:{key}@127.0.0.1:9/v1", f"htp://{key}@x"):
        declares(owner, f'provider "{cloud}" {{\n  api_key  = "other"\n  endpoint = "{endpoint}"\n}}\n')
        told = owner.run("plan", codes=(1,))
        assert "endpoint" in told
    assert owner.leaks() == []


@pytest.mark.parametrize(
    "text", [API_KEY, base64.b64encode(f"export KEY={API_KEY}!".encode()).decode(), quote(API_KEY, "")]
)
def test_the_search_is_not_blind(text: str, owner: Owner) -> None:
    assert owner.leaks() == []
    (owner.project / "kept.log").write_text(f"it says {text} here")
    assert [leak.split(":")[0] for leak in owner.leaks()] == ["API key in project/kept.log"]
