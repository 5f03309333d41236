import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.contracts.exchange_contract import AMPLE_S, NORTH, by_site, question, reverse
from tests.contracts.flower_federation import answering, link_to, make_pki, serving, wait_until
from tests.ports import free_port

pytestmark = pytest.mark.slow


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    return make_pki(tmp_path / "pki")


SITE = """
import sys, threading, time
from pathlib import Path
from fed_client.flower_link import FlowerLink, serve
address, pki, state, delay_s = sys.argv[1:]
def answer(payload):
    time.sleep(float(delay_s))
    return payload[::-1]
link = FlowerLink(
    address=address, ca=Path(pki, "ca.crt"), node_key=Path(pki, "north/node.key"), state=Path(state)
)
serve(answer, link=link, stop=threading.Event(), on_event=lambda event: print(event, flush=True))
"""

SERVER = """
import sys
from pathlib import Path
from fed_common.names import RunId, SiteName
from fed_server.exchange import Answer, Question
from fed_common.signing import SigningKey
from fed_server.door.door import Door
from fed_server.door.tls import TlsFiles
from fed_server.flower_link import FlowerExchange
from fed_server.registry.registry import Registry
pki, port, deadline_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
north = SiteName("north")
tls = TlsFiles(ca=pki / "ca.crt", certificate=pki / "server/tls.crt", key=pki / "server/tls.key")
registry = Registry(folder=pki / "registry", key=SigningKey.load(pki / "server/identity.key"))
with FlowerExchange.open(Door(address=("127.0.0.1", port), tls=tls, registry=registry)) as exchange:
    question = Question(
        run=RunId("run"), round=1, phase="train", sites=(north,), parts=(b"model",), deadline_s=deadline_s
    )
    print(*[reply.payload.decode() for reply in exchange.ask(question)], flush=True)
    sys.stdin.read()
"""


@contextmanager
def process(script: str, *arguments: object, home: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a script with nothing but its home to write to; kill it in the end, as a power cut would."""
    with subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=home,
        env={"HOME": str(home), "OMP_NUM_THREADS": "1"},
    ) as running:
        try:
            yield running
        finally:
            running.send_signal(signal.SIGKILL)


def next_line(running: subprocess.Popen[str]) -> str:
    assert running.stdout
    return running.stdout.readline().strip()


def test_a_site_killed_while_it_answers_is_asked_again_when_it_is_back(pki: Path, tmp_path: Path) -> None:
    home, state = tmp_path / "home", tmp_path / "state"
    home.mkdir()
    answers: list[bytes | str] = []
    with serving(pki) as exchange:
        address = f"https://127.0.0.1:{exchange.port}"

        def ask() -> None:
            answers.extend(by_site(exchange.ask(question(b"model", sites=(NORTH,)))).values())

        asking = threading.Thread(target=ask)
        asking.start()
        with process(SITE, address, pki, state, AMPLE_S, home=home) as first:
            assert [next_line(first), next_line(first)] == ["connected", "asked"]
        with process(SITE, address, pki, state, 0, home=home) as second:
            assert [next_line(second) for _ in range(3)] == ["connected", "asked", "answered"]
            asking.join()
    assert answers == [b"ledom"]
    # Flower keeps nothing of its own in the user's home.
    assert list(home.iterdir()) == []


def test_sites_find_a_server_that_was_killed_and_restarted_by_themselves(pki: Path, tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    home.mkdir()
    with answering(link_to(port, pki, state=tmp_path), reverse) as events:
        for _ in range(2):
            with process(SERVER, pki, port, AMPLE_S, home=home) as server:
                assert next_line(server) == "ledom"
            wait_until(lambda: events[-1] == "disconnected")
    # Reported once per change, however often the site tried in between.
    assert events == ["disconnected", *["connected", "asked", "answered", "disconnected"] * 2]
    assert list(home.iterdir()) == []
