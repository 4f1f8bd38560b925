#!/usr/bin/env python3
"""relay.py PIDFILE FRONT=BACK[=STEP=WAY] ...: stands between a daemon and BMCs on UDP port 623, and kills the daemon.

Each line passes datagrams on between FRONT, where the daemon asks, and BACK, where its BMC is, and counts what the daemon sends.
At datagram STEP it stops, by WAY: `lost` (the BMC never hears it), `unanswered` (the BMC does, its answer is swallowed) or
`answered` (its answer is the last to pass). Once all lines that have a step stand, the daemon whose id is the first word of
PIDFILE is killed (SIGKILL), and nothing passes until SIGUSR1. Prints one JSON object for each datagram of the daemon, for each
login that failed, for each line that stopped and for the kill."""
import json, os, select, signal, socket, sys, time

KINDS = {0x10: "open session", 0x12: "RAKP 1", 0x14: "RAKP 3"}
# Bytes of an encrypted command that carries a password; without one it is shorter.
PASSWORD = 48


def tell(**what):
    print(json.dumps(what), flush=True)


def payload(datagram):
    """Type and bytes of what an RMCP+ datagram carries; the question for capabilities comes in the older framing."""
    if len(datagram) < 16 or datagram[4] != 6:
        return None, b""
    return datagram[5] & 0x3F, datagram[16 : 16 + int.from_bytes(datagram[14:16], "little")]


def kind(datagram):
    which, data = payload(datagram)
    if which is None:
        return "capabilities"
    return KINDS.get(which, "password" if len(data) == PASSWORD else "command")


def refused(datagram):
    """RAKP 2 and RAKP 4 with a status: what the BMC counts as a failed login, a proof of ours or the name that it does not know."""
    which, data = payload(datagram)
    return which in (0x13, 0x15) and len(data) > 1 and data[1] != 0


class Line:
    def __init__(self, front, back, step=0, way=None):
        self.bmc, self.back, self.step, self.way = front, back, int(step), way
        self.front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.front.bind((front, 623))
        # The BMC answers whoever asked: a socket there for each of the daemon's.
        self.wires, self.sent, self.stands = {}, 0, False

    def stop(self):
        self.stands = True
        tell(bmc=self.bmc, stopped=self.way, step=self.sent)

    def from_daemon(self):
        datagram, peer = self.front.recvfrom(4096)
        if self.stands:
            return
        self.sent += 1
        tell(bmc=self.bmc, step=self.sent, kind=kind(datagram))
        if self.sent == self.step and self.way == "lost":
            return self.stop()
        if peer not in self.wires:
            self.wires[peer] = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.wires[peer].connect((self.back, 623))
        self.wires[peer].send(datagram)

    def from_bmc(self, peer):
        datagram = self.wires[peer].recv(4096)
        if refused(datagram):
            tell(bmc=self.bmc, refused=True)
        if self.stands:
            return
        last = self.sent == self.step
        if not last or self.way == "answered":
            self.front.sendto(datagram, peer)
        if last:
            self.stop()

    def sockets(self):
        yield self.front, self.from_daemon
        for peer, wire in self.wires.items():
            yield wire, lambda peer=peer: self.from_bmc(peer)


def main():
    pidfile, lines = sys.argv[1], [Line(*line.split("=")) for line in sys.argv[2:]]
    stopping, killed = [line for line in lines if line.step], False

    def go_on(*_):
        for line in lines:
            line.stands, line.step = False, 0

    signal.signal(signal.SIGUSR1, go_on)
    while True:
        ready = {socket: act for line in lines for socket, act in line.sockets()}
        for one in select.select(ready, [], [], 1)[0]:
            ready[one]()
        if stopping and not killed and all(line.stands for line in stopping):
            os.kill(int(open(pidfile).read().split()[0]), signal.SIGKILL)
            killed = True
            for line in lines:
                line.stands = True
            tell(killed=time.time())


main()
