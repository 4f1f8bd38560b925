#!/usr/bin/env python3
"""notifier.py CHASSIS BED NAME PORT: the wire between sushy-tools' fake driver and the bed's chassis. The driver PUTs its system
whenever that changes; boot device and power go to `CHASSIS BED NAME set`, once for each change."""
import http.server, json, subprocess, sys

chassis, bed, name, port = sys.argv[1:5]
# As the machine stands at first: off.
told = {"power": "0"}


def tell(item, value):
    if told.get(item) != value:
        subprocess.run([chassis, bed, name, "set", item, value], check=True)
        told[item] = value


class Notified(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        system = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        on = system["power_state"] == "On"
        # The override lasts there until it is taken back: whoever switches on starts by it again.
        if on and told.get("power") != "1":
            told.pop("boot", None)
        tell("boot", "pxe" if system.get("boot_device") == "Pxe" else "default")
        tell("power", "1" if on else "0")
        print(system["name"], system["power_state"], system.get("boot_device"), system.get("pending_power"), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.HTTPServer(("127.0.0.1", int(port)), Notified).serve_forever()
