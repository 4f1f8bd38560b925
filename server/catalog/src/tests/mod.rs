//! Tests that need more than one room of the crate, and the small world they share.

mod compared;
mod learnt;
mod located;
mod slips;

use crate::{Catalog, read};

pub const MODEL: &str = r#"
id = "small"
title = "Small"
role = "compute"
evidence = "synthetic"

[identify.system]
manufacturer = { exact = "Example Inc." }
product = { one-of = ["R1", "R2"] }

[identify.cpu]
model = { pattern = "Example * CPU" }
sockets = { exact = 2 }
cores = { range = [8, 16] }

[identify.memory]
total-mib = { min = 65536 }
dimms = { exact = 2 }
dimm-mib = { exact = 32768 }
speed-mts = { min = 3200 }

[[identify.disks]]
name = "system"
kind = "ssd"
size-gb = { range = [400, 500] }
count = { exact = 1 }

[[identify.disks]]
name = "data"
kind = "hdd"
size-gb = { min = 4000 }
count = { exact = 2 }

[[identify.nics]]
name = "fabric"
driver = { exact = "mlx5_core" }
speed-mbps = { exact = 25000 }
count = { exact = 2 }
linked = { min = 1 }

[identify.firmware]
bios = { min = "1.10" }

[identify]
tpm = { version = "2" }

[root-disk]
kind = "ssd"
pick = "only"

[boot]
firmware = ["uefi"]

[bmc]
profile = "plain"
"#;

pub const BMC: &str = r#"
id = "plain"
title = "Plain"
evidence = "synthetic"
protocols = ["ipmi"]
"#;

pub const RACK: &str = r#"
site = "here"
rack = "r1"
evidence = "declared"
units = 10

[[machine]]
name = "a"
u = 1
height = 2
model = "small"
serial = "SA"
macs = ["52:54:00:00:00:0a"]
ports = [{ switch = "leaf", port = "1" }]
bmc = { protocol = "ipmi", address = "10.0.0.1", user = "admin", password-file = "a" }

[[machine]]
name = "b"
u = 3
model = "small"
serial = "SB"
macs = ["52:54:00:00:00:0b"]
ports = [{ switch = "leaf", port = "2" }]
"#;

pub const MODEL_FILE: &str = "firmware-profiles/models/small.toml";
pub const BMC_FILE: &str = "firmware-profiles/bmcs/plain.toml";
pub const RACK_FILE: &str = "rack-layouts/here/r1.toml";

pub fn files() -> Vec<(String, String)> {
    [(MODEL_FILE, MODEL), (BMC_FILE, BMC), (RACK_FILE, RACK)].map(|(file, text)| (file.into(), text.into())).to_vec()
}

pub fn catalog() -> Catalog {
    read(&files()).unwrap()
}
