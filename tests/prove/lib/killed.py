#!/usr/bin/env python3
"""killed.py BED: what the log says of a machine whose daemon was killed, held against what others saw of it.

The chassis, the readers of the event stream, the machine's agents and the clients of the DHCP server each kept their own
record; none of them asks the daemon. Prints every contradiction; nothing else is a failure.
"""

import glob
import json
import re
import sqlite3
import sys

bed = sys.argv[1]
# The shorter of the two times that this site leases for, in seconds.
LEAST_LEASE = 300
# An IPMI packet that is not answered is repeated, in seconds; it is one order to a BMC, which is slow here because its
# machine's switch is a script.
REPEATED = 8
wrong = []


def lines(name):
    with open(f"{bed}/{name}") as text:
        return [line.split() for line in text]


log = [json.loads(line) for line in open(f"{bed}/log.jsonl")]
kills = [float(at) for at, *_ in lines("kills")]
detail = lambda row: row["body"].get("detail") or {}
of = lambda kind: [row for row in log if row["kind"] == kind]

# The log: gap-free, and every row that a reader was ever told is in it as it was told.
if [row["seq"] for row in log] != list(range(1, len(log) + 1)):
    wrong.append("the log has a gap")
told = 0
for name in glob.glob(f"{bed}/told/*"):
    for line in open(name):
        if not line.startswith("data: "):
            continue
        try:
            row = json.loads(line[6:])
        except json.JSONDecodeError:
            continue  # cut off by a kill
        told += 1
        if row["seq"] > len(log) or log[row["seq"] - 1] != row:
            wrong.append(f"told and then lost or changed: {line[:200]}")

# Agents number what they say: no number of a boot is missing. The first word of a machine that nobody knows yet has no
# record to stand in.
boots = {}
for row in log:
    if match := re.match(r"boot/([0-9a-f-]+)/(\d+)$", row["cause"]):
        boots.setdefault(match[1], []).append(int(match[2]))
for boot, numbers in boots.items():
    if sorted(numbers) not in (list(range(1, len(numbers) + 1)), list(range(2, len(numbers) + 2))):
        wrong.append(f"of boot {boot} the reports {sorted(numbers)} are in the log")

# One order, written once to one disk. Another permit of the same order is a resume only where the agent said that the
# write before it failed.
permits = of("write-permitted")
failed = {row["epoch"] for row in of("install-reported") if row["body"]["event"]["outcome"] == "failed"}
installed = [row for row in of("install-reported") if row["body"]["event"]["outcome"] == "ok"]
pairs = {(detail(row)["order"], disk["serial"]) for row in permits for disk in detail(row)["disks"]}
if len(pairs) != 1 or [serial for _, serial in pairs] != ["DISK00001"]:
    wrong.append(f"permits to write: {sorted(pairs)}")
if len({row["epoch"] for row in permits}) != len(permits) or any(row["epoch"] not in failed for row in permits[:-1]):
    wrong.append(f"a disk was written twice: permits in epochs {[row['epoch'] for row in permits]}, failed {failed}")
if len(installed) != 1 or [detail(row)["outcome"] for row in of("order-closed")] != ["installed"]:
    wrong.append(f"{len(installed)} installs reported, orders closed as {[detail(row) for row in of('order-closed')]}")

# Acts beside the chassis: each order lies behind its phase in the log, each effect belongs to one act, and an order that
# was sent once goes out again only from a daemon that did not send it, to a machine that did not do it.
phases = {
    word: [(row["at"] / 1000, row["epoch"], detail(row)["slot"]) for row in of("act-phase") if detail(row)["phase"] == word]
    for word in ("off", "on")
}
effects, orders = {}, {}
is_on, since, newest = False, 0.0, {}
for at, verb, *rest in lines("machines/node1/power.log"):
    at = float(at)
    if verb in ("started", "stopped"):
        is_on, since = verb == "started", at
        word = "on" if is_on else "off"
    elif (verb, rest[:1]) == ("set", ["power"]):
        word = "on" if rest[1] == "1" else "off"
        if at - newest.get(word, 0.0) < REPEATED:
            continue
        newest[word] = at
        if (word == "on") == is_on and at - since > REPEATED:
            wrong.append(f"{at}: {word} was sent to a machine that was {word}")
    else:
        continue
    # The log's clock and the chassis's are one; a row's time is that of its transaction's begin.
    before = [key for key in phases[word] if key[0] <= at]
    if not before:
        wrong.append(f"{at}: {verb} {rest}, and the log knows of no act before it")
        continue
    begun, *act = before[-1]
    book = effects if verb in ("started", "stopped") else orders
    book.setdefault((word, *act), []).append((at, begun))
for act, times in effects.items():
    if len(times) > 1:
        wrong.append(f"{act} took effect {len(times)} times: {times}")
for act, times in orders.items():
    for (earlier, _), (later, _) in zip(times, times[1:]):
        if not any(earlier - 1 <= kill <= later for kill in kills):
            wrong.append(f"{act} was sent at {earlier} and {later} by one daemon")
done = [("on", row["epoch"], detail(row)["slot"]) for row in of("act-done") if detail(row)["act"]["type"] == "boot-into"]
for act in done:
    if act not in effects:
        wrong.append(f"{act} is done in the log, and the chassis knows nothing of it")

# No address at two MACs: by what clients were given, and by what the daemon says that it answered.
store = lambda name: sqlite3.connect(f"file:{bed}/site/data/{name}?mode=ro", uri=True)
given = [(float(at), mac, ip, float(lease)) for at, mac, ip, lease in lines("got")]
answers = 0
for at, mac, body in store("muster.db").execute("select at, mac, body from boot_entry order by at"):
    words = json.loads(body)["what"].get("words", "").split()
    if words[:1] == ["ACK"]:
        given.append((at / 1000, mac, words[1].rstrip(";"), LEAST_LEASE))
        answers += 1
if not answers:
    wrong.append("the boot timeline knows of no address that was given")
holders = {}
for at, mac, ip, lease in sorted(given):
    holder, until = holders.get(ip, (mac, 0))
    # An entry and the client's own note of one answer are some moments apart.
    if holder != mac and at < until - 5:
        wrong.append(f"{ip} was given to {mac} while {holder} had it")
    holders[ip] = (mac, max(until if holder == mac else 0, at + lease))
leases = store("leases.db").execute("select address, mac from lease").fetchall()
if len({address for address, _ in leases}) != len(leases):
    wrong.append("an address stands twice in leases.db")
for address, number in leases:
    ip = ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))
    mac = ":".join(f"{number >> shift & 255:02x}" for shift in (40, 32, 24, 16, 8, 0))
    if ip in holders and holders[ip][0] != mac:
        wrong.append(f"{ip} is {mac}'s in leases.db, and {holders[ip][0]} was given it last")

for line in wrong:
    print(f"CONTRADICTION {line}")
print(
    f"{len(kills)} kills; {len(log)} events, {told} of them told before; {len(boots)} boots; {len(orders)} power orders with "
    f"{len(effects)} effects; {len(permits)} permit; {len(holders)} addresses at {len({mac for _, mac, _, _ in given})} MACs"
)
sys.exit(bool(wrong))
