"""`kill -9` at any moment, and wall clocks that are set between two lives."""

import http.client
import itertools
import pathlib
import random
import subprocess
import threading
import time

from .bench import row
from .damage import Life
from .disk import Streaming, aliases, delivered, noisy, recorded
from .links import registering
from .process import ClockedProxy
from .proxy import Bridge, Proxy

# Kills of a long and of a short run.
KILLS, FEW = 100, 10


def kills(case):
    return FEW if case.quick else KILLS


@row("kill -9 during the first start", memory=32)
def first_start(case):
    """Each life finds what the killed one has left: no file, or a whole one."""
    dice, lives = random.Random(20261129), {"run": 0, "bridge": 0}
    texts = {
        "run": 'exporter.scrape_expose_endpoint = "127.0.0.1:0"\nreceiver.receive_on_tcp_socket = false\nreceiver.receiver_unix_socket = "r.sock"\n'
               'store.path = "store"\np2p.enabled = true\np2p.key_file = "p2p.key"\np2p.listen = "127.0.0.1:0"\n'
               'p2p.allow = ["ufqjzbpu1fenqsf5k67kaqz5hrrzjm9tkpcnbuhzxigq6d1n3bdo"]\n',
        "bridge": '[bridge]\nhttp_listen = "127.0.0.1:0"\nquic_listen = "127.0.0.1:0"\nkey_file = "bridge.key"\ntargets_file = "targets.json"\n'
                  f'secret = "{"1" * 64}"\n',
    }
    for number in range(kills(case)):
        command = "bridge" if number % 2 else "run"
        folder = case.proxy.folder / f"first{number}"
        folder.mkdir()
        config = folder / {"run": "proxy.toml", "bridge": "bridge.toml"}[command]
        config.write_text(texts[command])
        config.chmod(0o600)
        child = subprocess.Popen([case.binary, command, "--config", config.name], cwd=folder, stderr=subprocess.DEVNULL)
        time.sleep(dice.uniform(0, 0.15))
        child.kill()
        child.wait()
        life = Life(case.binary, command, folder)
        case.check(life.serves, f"{command}: the start after a kill failed: {life.text()[-300:]}")
        lives[command] += life.serves
        life.kill()
    return f"{sum(lives.values())} first starts of proxies and bridges, each killed after 0 to 0.15 s", "the next start of each serves"


class Fixed(Bridge):
    """A bridge whose ports stay the same when it is started again, so that proxies find it."""

    def kill_and_start(self):
        text = self.config.read_text()
        self.config.write_text(text.replace('bridge.quic_listen = "127.0.0.1:0"', f'bridge.quic_listen = "127.0.0.1:{self.quic_port}"'))
        super().kill_and_start()

    def started(self):
        if not hasattr(self, "behind"):
            super().started()


@row("kill -9 of a bridge while proxies come and go", start=Fixed, ways=())
def bridge_kills(case):
    dice, path = random.Random(20261129), case.proxy.folder / "targets.json"
    # A name that is registered and forgotten all the time, beside one that stays.
    proxies, over, changes = [registering(case, "south", case.proxy.SECRET)], threading.Event(), itertools.count()

    def forget():
        while not over.wait(0.02):
            try:
                case.proxy.ask("DELETE", "/aliases/south", patience=2)
                next(changes)
            except (OSError, http.client.HTTPException):
                pass

    thread = threading.Thread(target=forget)
    thread.start()
    try:
        for _ in range(kills(case)):
            time.sleep(dice.uniform(0.02, 0.4))
            case.proxy.kill_and_start()
            names = aliases(path)
            case.check({"north"} <= names <= {"north", "south"}, f"the file has {names}")
        over.set()
        thread.join()
        case.until("both are scraped", lambda: all(case.proxy.ask("GET", f"/scrape/{name}/metrics")[0] == 200 for name in ("north", "south")))
        left = [entry.name for entry in path.parent.iterdir() if ".new" in entry.name]
        case.check(not left, f"left behind: {left}")
    finally:
        over.set()
        for proxy in proxies:
            proxy.remove()
    return f"{kills(case)} kills while an alias is forgotten and registered again, {next(changes):,} times", \
        "the targets file is whole after each; in the end both proxies are scraped"


@row("kill -9 of a recorder", start=Streaming, memory=64)
def recorder_kills(case):
    dice, path = random.Random(20261129), case.proxy.folder / "trace.jsonl.gz"
    case.proxy.upstream.then = b"".join(noisy(number) for number in range(200))
    for _ in range(kills(case)):
        recorder = case.proxy.record(case.binary, path)
        case.proxy.upstream.cut()
        time.sleep(dice.uniform(0.05, 1.5))
        recorder.kill()
        recorder.communicate()
    # The last life ends by itself, and so cuts off what the one before it left.
    recorder = case.proxy.record(case.binary, path)
    time.sleep(0.5)
    recorder.terminate()
    _, told = recorder.communicate(timeout=30)
    case.check(recorder.returncode == 0, f"the last recorder ended with {recorder.returncode}: {told}")
    count = recorded(case, path)
    case.check(count > 0, "nothing was recorded")
    return f"{kills(case)} recorders of one file, killed after 0.05 to 1.5 s", f"the recording is whole, with {count:,} messages"


class Reborn(ClockedProxy):
    """One with a store, whose wall clock can be set between two lives."""

    def defaults(self):
        return {**super().defaults(), "store.path": str(self.folder / "store"), "store.expire_after": 600, "events.scrapers": ["keeper"],
                "events.scraper_identity": "param:by"}

    def start_at(self, hours):
        self.child.kill()
        self.child.wait()
        self.step(hours * 3_600)
        self.kill_and_start()


@row("kill -9 and a wall clock that was set meanwhile", start=Reborn, ways=())
def clock_between_lives(case):
    delivered(case)
    steps, number = (-5, -24, -5, 3, 0), 0
    for hours in steps:
        case.proxy.ask("PUT", f"/apps/life{number}/metrics", f"of_life_{number} 1\n")
        case.check(case.proxy.ask("POST", f"/event?n={number}")[0] == 200, "an event was refused")
        store = pathlib.Path(case.proxy.folder / "store")
        case.until("the app is written", lambda: any(f"of_life_{number} ".encode() in path.read_bytes() for path in store.glob("apps-*")))
        behind = steps[number - 1] if number else 0
        case.proxy.start_at(hours)
        text = case.proxy.text("/metrics?peek=true")
        if hours <= behind:
            # Ahead it has really been away for so long, as far as it can know, and apps of ten minutes are over.
            case.check(f"of_life_{number} 1" in text, f"the app of life {number} is gone at {hours:+} h")
        case.check(number in delivered(case), f"the event of life {number} is not delivered at {hours:+} h")
        case.check(delivered(case) == [], f"an event came twice at {hours:+} h")
        number += 1
    return f"kills, each followed by a start with the clock set to {', '.join(f'{hours:+} h' for hours in steps)}; store.expire_after = 600", \
        "with a clock set back nothing is lost; each event is delivered once either way"
