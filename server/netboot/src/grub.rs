//! GRUB's boot scripts, from the same typed fields as iPXE's.
//!
//! The GRUB that firmware with Secure Boot accepts is built by a distribution: what it lacks it cannot load, for modules
//! are not signed. Debian's has no HTTP, so kernel, boot image and token come over TFTP from where GRUB itself came; its
//! first script has a fixed name and asks for the machine's own by MAC address. Every word is quoted, since GRUB's
//! language gives meaning to braces, dollar signs and semicolons (LP:1651452).

use crate::script::{AgentBoot, BadScript, Initrd, Link, Script};
use muster_names::Architecture;
use std::fmt::Write as _;

/// Where GRUB looks for its first script: below its built-in prefix.
pub const FIRST_GRUB_SCRIPT: &str = "grub/grub.cfg";

/// Under what name GRUB knows an architecture (`$grub_cpu`).
pub fn by_grub_name(name: &str) -> Option<Architecture> {
    match name {
        "x86_64" => Some(Architecture::X86_64),
        "arm64" => Some(Architecture::Arm64),
        _ => None,
    }
}

/// The first script, the same for every machine. It asks with growing pauses, each time for a fresh decision, then tries
/// the disk, and begins again: a machine that cannot load never stays at a prompt and is never switched off.
pub fn first_grub_script() -> String {
    format!(
        "\
set server=$root
while true; do
    for pause in 1 2 4 8 16 32; do
        set root=$server
        echo 'Muster: asking for the boot script'
        source /b/$net_default_mac/$grub_cpu/boot.grub
        echo \"Muster: not booted, trying again in $pause s\"
        sleep $pause
    done
{DISK}\
done
"
    )
}

/// B6.3, B6.1: whatever a GRUB that leaves is asked to tell the firmware, it tells that the boot went well; firmware then
/// goes no further in its boot order, but into its setup. So GRUB starts the disk's own loader by the name that every
/// disk has. That loader looks for its own files on `root`, where GRUB's `chainloader` says it came from.
const DISK: &str = "\
echo 'Muster: booting the local disk'
set file=/EFI/BOOT/BOOTX64.EFI
if test $grub_cpu = arm64; then
    set file=/EFI/BOOT/BOOTAA64.EFI
fi
if search --no-floppy --file --set=root $file; then
    if chainloader $file; then
        boot
    fi
fi
";

/// A machine's own script. Only the number of initrds changes its length; a failure falls through to the first script,
/// which asks again.
///
/// # Errors
/// An argument that GRUB would hand to the kernel as another one: it puts a backslash before quotes and backslashes.
pub fn grub_script(script: &Script) -> Result<String, BadScript> {
    match script {
        Script::Disk => Ok(DISK.to_owned()),
        Script::Agent(boot) => agent(boot),
    }
}

fn agent(boot: &AgentBoot) -> Result<String, BadScript> {
    let mut args = String::new();
    for token in boot.args.tokens() {
        if token.contains(['\'', '"', '\\']) {
            return Err(BadScript::Argument { argument: token.to_owned() });
        }
        let _ = write!(args, " '{token}'");
    }
    let mut initrds = String::new();
    for Initrd { link, .. } in &boot.initrds {
        let _ = write!(initrds, " {}", place(link));
    }
    Ok(format!(
        "\
echo 'Muster: loading the agent'
if linux {kernel}{args} 'BOOTIF=01-{mac}'; then
    if initrd{initrds}; then
        boot
    fi
fi
",
        kernel = place(&boot.kernel),
        mac = boot.mac.dashed(),
    ))
}

/// The file on the server that GRUB came from.
fn place(link: &Link) -> String {
    format!("'{}'", link.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::KernelArgs;
    use muster_names::Mac;
    use proptest::prelude::*;

    fn boot(args: KernelArgs, initrds: usize) -> Script {
        let link = |path: &str| Link::new(&format!("http://10.0.4.1:8080{path}")).unwrap();
        let initrds = (0..initrds).map(|at| Initrd::new("x", link(&format!("/part{at}"))).unwrap()).collect();
        let (script, kernel) = (link("/b/x/boot.ipxe"), link("/boot/vmlinuz"));
        Script::Agent(AgentBoot { mac: Mac([0x52, 0x54, 0, 0, 0, 1]), script, kernel, initrds, args })
    }

    #[test]
    fn b10_grub_loads_from_where_it_came_and_quotes_every_word() {
        let text = grub_script(&boot(KernelArgs::new("quiet console=ttyS0,115200 cc:{x};y$z").unwrap(), 2)).unwrap();
        assert_eq!(
            text,
            "\
echo 'Muster: loading the agent'
if linux '/boot/vmlinuz' 'quiet' 'console=ttyS0,115200' 'cc:{x};y$z' 'BOOTIF=01-52-54-00-00-00-01'; then
    if initrd '/part0' '/part1'; then
        boot
    fi
fi
"
        );
    }

    #[test]
    fn a4_what_grub_would_hand_on_as_another_argument_is_refused() {
        for bad in ["a='b'", "a=\"b\"", "a\\b"] {
            let args = KernelArgs::new(bad).unwrap();
            assert!(matches!(grub_script(&boot(args, 1)), Err(BadScript::Argument { .. })), "{bad}");
        }
    }

    #[test]
    fn b6_3_grub_boots_the_disk_by_its_own_loader_and_b6_1_never_leaves_into_the_setup() {
        let text = grub_script(&Script::Disk).unwrap();
        assert!(text.contains("--set=root $file") && text.contains("chainloader $file"));
        let first = first_grub_script();
        assert!(first.contains(&text), "what cannot load tries the disk");
        assert!(first.ends_with("done\n") && first.contains("    set root=$server\n"), "and asks again, not the disk");
        for word in ["exit", "halt", "reboot"] {
            assert!(!first.contains(word), "{word}");
        }
    }

    #[test]
    fn b10_the_first_script_asks_for_the_machines_own_by_mac_and_architecture() {
        let text = first_grub_script();
        assert!(text.contains("source /b/$net_default_mac/$grub_cpu/boot.grub\n"));
        assert_eq!(by_grub_name("arm64"), Some(Architecture::Arm64));
        assert_eq!(by_grub_name("i386"), None);
    }

    proptest! {
        #[test]
        fn a4_no_field_adds_a_line_or_ends_a_quote(args: String, count in 0usize..4) {
            let lines = |script: &Script| grub_script(script).map(|text| text.lines().count());
            let plain = lines(&boot(KernelArgs::default(), count));
            let read = KernelArgs::new(&args).unwrap_or_default();
            let words = read.tokens().count();
            let script = boot(read, count);
            if let Ok(text) = grub_script(&script) {
                prop_assert_eq!(lines(&script), plain);
                let line = text.lines().find(|line| line.starts_with("if linux ")).unwrap();
                prop_assert_eq!(line.matches('\'').count(), 2 * (words + 2));
            }
        }
    }
}
