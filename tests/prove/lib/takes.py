#!/usr/bin/env python3
"""takes.py PID USER: the password that OpenIPMI's ipmi_sim takes of this user now, read where it compares: in its memory, where
a name of 16 bytes is followed by a password of 20."""
import re, sys

pid, user = sys.argv[1], sys.argv[2].encode().ljust(16, b"\0")
found = set()
for line in open(f"/proc/{pid}/maps"):
    if not line.rstrip().endswith("[heap]"):
        continue
    begin, end = (int(address, 16) for address in line.split()[0].split("-"))
    with open(f"/proc/{pid}/mem", "rb") as memory:
        memory.seek(begin)
        heap = memory.read(end - begin)
    for hit in re.finditer(re.escape(user) + rb"([!-~]{1,20})(\0*)", heap):
        if len(hit[1] + hit[2]) >= 20:
            found.add(hit[1].decode())
if len(found) != 1:
    sys.exit(f"process {pid} has {len(found)} passwords of {sys.argv[2]}, and it should have one")
print(found.pop())
