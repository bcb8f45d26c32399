"""What one app, or a pair of apps, can hand in: legal texts that are large, wide, or contradict each other.

Everybody else here pushes, asks for one app of its own, and asks whether the proxy is well. A scrape of everything would include the
text itself.
"""

import json
import time

from .bench import row

MIB = 1 << 20
WAYS = ("http", "one", "health", "own", "tcp", "unix")
# Everybody else waits for some tens of milliseconds on a quiet machine with two cores; this is for one that is busy.
WAIT = 1.0


def push(case, app, text, expected=(200,)):
    """Pushes a text; gives the answer and how long it took."""
    began = time.monotonic()
    status, answer = case.proxy.ask("PUT", f"/apps/{app}/metrics", text.encode(), patience=120)
    case.check(status in expected, f"{app}: {status} {answer[:200]!r}")
    return answer.decode(errors="replace"), time.monotonic() - began


def forget(case, *apps):
    for app in apps:
        status, _ = case.proxy.ask("DELETE", f"/apps/{app}", patience=120)
        case.check(status == 202, f"{app} could not be forgotten: {status}")


def wide(count, prefix="a", value=1):
    return "".join(f"{prefix}{number:x} {value}\n" for number in range(count))


@row("a text of many families", ways=WAYS, wait=WAIT, memory=1_200)
def families(case):
    count = 150_000 if case.quick else 1_600_000
    _, took = push(case, "wide", wide(count), (200, 413))
    _, again = push(case, "wide", wide(count, value=2), (200, 413))
    forget(case, "wide")
    return f"{count:,} families of one sample each, twice, then forgotten", f"stored after {took:.1f} s and after {again:.1f} s"


@row("a text whose names change each time", ways=WAYS, wait=WAIT, memory=700)
def alternating(case):
    count, rounds = (20_000, 4) if case.quick else (150_000, 20)
    worst = max(push(case, "restless", wide(count, "ab"[number % 2] + "x"))[1] for number in range(rounds))
    return f"{rounds} texts of {count:,} families, no two in a row with a name in common", f"the slowest was stored after {worst:.1f} s"


@row("twins", ways=WAYS, wait=WAIT, memory=400)
def twins(case):
    count = 10_000 if case.quick else 50_000
    text = wide(count)
    began = time.monotonic()
    message = json.dumps({"castor": text, "pollux": text.replace(" 1\n", " 2\n")}).encode()
    status = case.proxy.send(message)
    case.check(status == b"", f"the proxy said {status!r}")
    took = time.monotonic() - began
    case.check(f'a0{{app="castor"}} 1\na0{{app="pollux"}} 2\n' in case.proxy.text("/metrics?own=false"), "they are not told apart")
    forget(case, "castor", "pollux")
    return f"two apps with the same {count:,} families of one sample, in one message", f"told apart after {took:.1f} s"


def typed(count, kind):
    head = "# TYPE h{0:x} " + kind + "\n"
    buckets = 'h{0:x}_bucket{{le="+Inf",i="' + kind + '"}} 1\n' if kind == "histogram" else ""
    rest = "".join('h{0:x}' + suffix + '{{i="' + kind + '"}} 1\n' for suffix in ("_sum", "_count"))
    return "".join((head + buckets + rest).format(number) for number in range(count))


@row("families in conflict", ways=WAYS, wait=WAIT, memory=1_500)
def conflict(case):
    count = 8_000 if case.quick else 100_000
    push(case, "old", typed(count, "summary"))
    answer, took = push(case, "new", typed(count, "histogram"))
    case.check("warning: family h0 is exposed untyped" in answer, f"no warning in {answer[:300]!r}")
    text = case.proxy.text("/metrics?own=false")
    case.check('\nh0_count{i="summary"} 1\nh0_count{i="histogram"} 1\n' in text, "a sample is missing")
    case.check("# TYPE h0 " not in text, "a family in conflict has a type")
    _, ended = push(case, "old", typed(count, "histogram").replace('i="histogram"', 'i="old"'))
    case.check("# TYPE h0 histogram\n" in case.proxy.text("/metrics?own=false"), "the type did not come back")
    return f"{count:,} summaries of one app that are histograms of another, then no more", \
        f"all samples untyped after {took:.1f} s, typed again after {ended:.1f} s"


@row("an object with very many apps", ways=WAYS, wait=WAIT, memory=900)
def apps(case):
    count = 10_000 if case.quick else 100_000
    message = json.dumps({f"app-{number}": f'up{{i="{number}"}} 1' for number in range(count)}).encode()
    began = time.monotonic()
    told = case.proxy.send(message)
    case.check(told == b"" or b"store.max_apps" in told, f"the proxy said {told[:200]!r}")
    return f"{count:,} apps in one object", f"stored after {time.monotonic() - began:.1f} s"


@row("help of a megabyte", ways=WAYS, wait=WAIT, memory=200)
def help_text(case):
    text = "# HELP up " + "x" * MIB + '\n# TYPE up gauge\nup{{i="{}"}} 1\n'
    for number in range(5 if case.quick else 40):
        push(case, f"talker-{number % 8}", text.format(number))
    metrics = case.proxy.text("/metrics?own=false")
    case.check(metrics.count("# HELP up ") == 1, "the family has one HELP")
    return "eight apps with one family whose HELP has a megabyte", "one HELP goes out"


@row("names that are equal once escaped", ways=WAYS, wait=WAIT, memory=400)
def escaped(case):
    count = 10_000 if case.quick else 50_000
    dotted = "".join(f'{{"n.{number:x}"}} 1\n' for number in range(count))
    push(case, "dots", dotted)
    _, took = push(case, "lines", wide(count, "n_", 2))
    text = case.proxy.text("/metrics?own=false")
    case.check('n_0{app="dots"} 1\nn_0{app="lines"} 2\n' in text, "they are not told apart")
    return f"{count:,} families of one app whose names are those of another once escaped", f"told apart after {took:.1f} s"


# The last sixteenth of the memory is kept for updates that grow by little: those of others continue.
@row("a client that fills the store", ways=WAYS, wait=WAIT, settings={"store.max_memory": "64MiB"}, memory=192)
def full_store(case):
    # Families of their own: what apps share is written once more for each app, which takes memory after the texts were accepted.
    text = lambda app: "".join(f'filling{app}{{n="{number:0500}"}} 1\n' for number in range(2_000))
    statuses = []
    while len(statuses) < 200 and 507 not in statuses:
        statuses.append(case.proxy.ask("PUT", f"/apps/filling{len(statuses)}/metrics", text(len(statuses)))[0])
    case.check(statuses[-1] == 507 and set(statuses[:-1]) == {200}, f"answers: {statuses}")
    # Data of the same size is taken while the store is full.
    again = case.proxy.ask("PUT", "/apps/filling0/metrics", text(0))[0]
    case.check(again == 200, f"an update of the same size got {again}")
    case.check(case.proxy.own("exporter_proxy_rejected_total", reason="store_full") > 0, "no refusal was counted")
    for number in range(len(statuses) - 1):
        case.proxy.ask("DELETE", f"/apps/filling{number}")
    return f"{len(statuses)} apps of {len(text(0)) // 1_000:,} kB each, with room for 64 MiB", \
        f"{statuses.count(200)} taken, then 507; an update of the same size was taken"


@row("a client with too many apps", settings={"store.max_apps": 1_000}, memory=64)
def many_apps(case):
    statuses = [case.proxy.ask("PUT", f"/apps/many{number}/metrics", "many 1\n")[0] for number in range(1_500)]
    case.check(set(statuses) == {200, 507}, f"answers: {set(statuses)}")
    case.check(statuses[0] == 200 and statuses[-1] == 507, "the first ones were not kept")
    case.check(case.proxy.own("exporter_proxy_rejected_total", reason="too_many_apps") >= 100, "the refusals were not counted")
    for number in range(len(statuses)):
        case.proxy.ask("DELETE", f"/apps/many{number}")
    return "1,500 apps of one client, with room for 1,000", f"{statuses.count(200)} taken, {statuses.count(507)} answered with 507"
