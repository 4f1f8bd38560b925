#!/usr/bin/env python3
"""sensors.py OURS IPMITOOL FREEIPMI: holds what three programs read of one BMC against each other, sensor by sensor.

OURS is `muster bmc sensors --output json`, IPMITOOL is `ipmitool sensor`, FREEIPMI is `ipmi-sensors` with states and
thresholds, comma-separated. Names, values, states and thresholds have to be the same, values within the last digit that is
printed. Prints how many sensors and numbers were compared; exits 1 with what differs."""
import csv, json, sys

# Of thresholds, from the lowest to the highest, in each program's order.
LIMITS = ["lower_fatal", "lower_critical", "lower_warning", "upper_warning", "upper_critical", "upper_fatal"]
WORSE = {"ok": "ok", "nc": "warning", "cr": "critical", "nr": "critical"}
STATES = {"Nominal": "ok", "Warning": "warning", "Critical": "critical"}


def number(text):
    return None if text.strip().lower() in ("na", "n/a", "") else float(text)


def by_name(rows):
    found = {}
    for name, *rest in rows:
        if name in found:
            sys.exit(f"two sensors are called {name}: nothing can be compared by name")
        found[name] = rest
    return found


def ours(file):
    read = json.load(open(file))
    return by_name([one["name"], one["value"], one["health"], [one["thresholds"][limit] for limit in LIMITS]] for one in read)


def ipmitool(file):
    rows = [[cell.strip() for cell in line.split("|")] for line in open(file) if "|" in line]
    # A sensor of states has its bits for a reading, and no word for how it is.
    told = ([row[0], None, None, [None] * 6] if row[2] == "discrete" else
            [row[0], number(row[1]), WORSE[row[3]], [number(cell) for cell in row[4:10]]] for row in rows)
    return by_name(told)


def freeipmi(file):
    rows = list(csv.DictReader(open(file)))
    columns = ["Lower NR", "Lower C", "Lower NC", "Upper NC", "Upper C", "Upper NR"]
    return by_name([row["Name"], number(row["Reading"]), STATES[row["State"]], [number(row[column]) for column in columns]] for row in rows)


def near(a, b, digits):
    if a is None or b is None:
        return a is b
    return abs(a - b) <= 0.5 * 10**-digits + 1e-9


def main():
    mine = ours(sys.argv[1])
    faults, numbers = [], 0
    for program, digits, theirs in (("ipmitool", 3, ipmitool(sys.argv[2])), ("FreeIPMI", 2, freeipmi(sys.argv[3]))):
        if mine.keys() != theirs.keys():
            faults.append(f"{program} has other sensors: only one of us has {sorted(mine.keys() ^ theirs.keys())}")
        for name in mine.keys() & theirs.keys():
            (value, health, limits), (value_2, health_2, limits_2) = mine[name], theirs[name]
            if not near(value, value_2, digits):
                faults.append(f"{name}: {value}, and {value_2} by {program}")
            if health_2 is not None and health != health_2:
                faults.append(f"{name} is {health}, and {health_2} by {program}")
            if not all(near(a, b, digits) for a, b in zip(limits, limits_2)):
                faults.append(f"{name}: thresholds {limits}, and {limits_2} by {program}")
            numbers += sum(one is not None for one in [value, *limits])
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(mine)} sensors, {numbers} numbers")


main()
