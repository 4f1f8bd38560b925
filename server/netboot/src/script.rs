//! iPXE scripts from typed fields (A4). Script injection through kernel arguments is a known hole of other systems:
//! here every field is checked when it is made, and no field can add a line.

use muster_names::Mac;
use std::fmt;

/// What iPXE is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// Leave the network and boot the local disk.
    Disk,
    /// The boot image with the agent.
    Agent(AgentBoot),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentBoot {
    pub mac: Mac,
    /// Where this script itself comes from.
    pub script: Link,
    pub kernel: Link,
    pub initrds: Vec<Initrd>,
    pub args: KernelArgs,
}

/// One initrd. The loader hands several to the kernel one after the other; a length that is no multiple of four hides
/// the next one, so whoever makes them pads them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initrd {
    pub(crate) name: String,
    pub(crate) link: Link,
}

impl Initrd {
    /// `name` is what UEFI calls the file: letters, digits, dot, dash, underscore.
    pub fn new(name: &str, link: Link) -> Result<Self, BadScript> {
        let sound = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if sound { Ok(Self { name: name.to_owned(), link }) } else { Err(BadScript::Name { name: short(name) }) }
    }
}

/// An http, https or tftp address with a plain path: no query, no white space, nothing a script expands (B3.9).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Link(String);

impl Link {
    pub fn new(text: &str) -> Result<Self, BadScript> {
        let rest = ["http://", "https://", "tftp://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        let sound = rest.is_some_and(|rest| {
            !rest.is_empty()
                && !rest.starts_with('/')
                && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/:[]~%+=@,".contains(&byte))
        });
        if sound && text.len() <= 1024 { Ok(Self(text.to_owned())) } else { Err(BadScript::Link { link: short(text) }) }
    }
}

impl Link {
    /// From the server's root on: `/boot/vmlinuz`.
    pub fn path(&self) -> &str {
        let host = self.0.split_once("://").map_or(self.0.as_str(), |(_, rest)| rest);
        host.split_at_checked(host.find('/').unwrap_or(host.len())).map_or("", |(_, path)| path)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Kernel arguments, token by token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelArgs(Vec<String>);

impl KernelArgs {
    /// Splits at blanks; refuses what a script would read as more than an argument.
    pub fn new(text: &str) -> Result<Self, BadScript> {
        let mut args = Self::default();
        if text.contains(['\n', '\r']) {
            return Err(BadScript::Argument { argument: short(text) });
        }
        for token in text.split([' ', '\t']).filter(|token| !token.is_empty()) {
            args.push(token)?;
        }
        Ok(args)
    }

    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Adds one argument.
    pub fn push(&mut self, token: &str) -> Result<(), BadScript> {
        let forbidden = ["#!", "||", "&&", "${", "`"];
        let sound = !token.is_empty()
            && token.len() <= 512
            && token.bytes().all(|byte| (0x21..0x7f).contains(&byte))
            && !matches!(token, "#" | "--")
            && !forbidden.iter().any(|bad| token.contains(bad));
        if !sound {
            return Err(BadScript::Argument { argument: short(token) });
        }
        self.0.push(token.to_owned());
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadScript {
    Argument { argument: String },
    Link { link: String },
    Name { name: String },
}

impl fmt::Display for BadScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument { argument } => write!(
                f,
                "{argument:?} cannot be a kernel argument: printable ASCII without blanks, \"#!\", \"||\", \"&&\", \"${{\" and backticks is expected"
            ),
            Self::Link { link } => {
                write!(f, "{link:?} cannot be loaded from: expected is http://, https:// or tftp:// with a plain path")
            }
            Self::Name { name } => {
                write!(f, "{name:?} cannot name an initrd: letters, digits, dot, dash and underscore are expected")
            }
        }
    }
}

impl std::error::Error for BadScript {}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

/// B6.1: leaving with success ends UEFI's walk through BootOrder, so the script leaves with an error.
/// B6.2: BIOS boots a drive itself.
const DISK: &str = "\
:disk
echo Muster: booting the local disk
iseq ${platform} efi && goto leave ||
sanboot --no-describe --drive 0x80 ||
sanboot --no-describe --drive 0x81 ||
sanboot --no-describe --drive 0x82 ||
sanboot --no-describe --drive 0x83 ||
:leave
exit 1
";

/// Renders the script. Only the number of initrds changes the number of lines.
pub fn script(script: &Script) -> String {
    match script {
        Script::Disk => format!("#!ipxe\n{DISK}"),
        Script::Agent(boot) => agent(boot),
    }
}

/// Six tries with pauses of 1, 2, 4 ... seconds, then the disk: a machine that cannot load is never switched off and
/// never hangs.
///
/// Each try begins with the script asked for anew, since what an older one names may be gone: the archive with the token
/// lies in the memory of the daemon that made it, and that daemon may have died. Tries are counted across scripts.
fn agent(boot: &AgentBoot) -> String {
    let mut initrds = String::new();
    let mut args = String::new();
    for Initrd { name, link } in &boot.initrds {
        initrds.push_str(&format!("initrd --name {name} {link} || goto failed\n"));
        args.push_str(&format!("initrd={name} "));
    }
    args.push_str(&boot.args.0.join(" "));
    format!(
        "#!ipxe\n\
         echo Muster: loading the agent\n\
         isset ${{tries}} || set tries:int32 0\n\
         isset ${{pause}} || set pause:int32 1\n\
         imgfree\n\
         kernel {kernel} {args} BOOTIF=01-{mac} || goto failed\n\
         {initrds}\
         boot || goto failed\n\
         :failed\n\
         iseq ${{tries}} 5 && goto disk ||\n\
         inc tries\n\
         echo Muster: loading failed, trying again in ${{pause}} s\n\
         sleep ${{pause}}\n\
         inc pause ${{pause}}\n\
         chain --replace {script} || goto failed\n\
         {DISK}",
        script = boot.script,
        kernel = boot.kernel,
        mac = boot.mac.dashed(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn boot(args: &str, initrds: usize) -> Script {
        let link = Link::new("http://10.0.4.1:8080/boot/vmlinuz").unwrap();
        let initrds = (0..initrds).map(|at| Initrd::new(&format!("part{at}.cpio"), link.clone()).unwrap()).collect();
        let args = KernelArgs::new(args).unwrap();
        let script = Link::new("http://10.0.4.1:8080/b/52-54-00-00-00-01/boot.ipxe").unwrap();
        Script::Agent(AgentBoot { mac: Mac([0x52, 0x54, 0, 0, 0, 1]), script, kernel: link, initrds, args })
    }

    #[test]
    fn b6_1_the_disk_script_leaves_uefi_with_an_error() {
        let text = script(&Script::Disk);
        assert!(text.starts_with("#!ipxe\n") && text.ends_with(":leave\nexit 1\n"));
        assert!(text.contains("iseq ${platform} efi && goto leave ||"));
    }

    #[test]
    fn b6_2_the_disk_script_boots_a_bios_drive() {
        let text = script(&Script::Disk);
        let drives: Vec<&str> = text.lines().filter(|line| line.starts_with("sanboot")).collect();
        assert_eq!(drives.len(), 4);
        assert_eq!(drives.first(), Some(&"sanboot --no-describe --drive 0x80 ||"));
    }

    #[test]
    fn b6_8_the_agents_kernel_is_told_the_interface_it_booted_from() {
        let text = script(&boot("console=ttyS0 quiet", 2));
        let line = text.lines().find(|line| line.starts_with("kernel ")).unwrap();
        assert_eq!(
            line,
            "kernel http://10.0.4.1:8080/boot/vmlinuz initrd=part0.cpio initrd=part1.cpio console=ttyS0 quiet BOOTIF=01-52-54-00-00-00-01 || goto failed"
        );
    }

    #[test]
    fn a_script_that_cannot_load_ends_at_the_disk_and_never_powers_off() {
        let text = script(&boot("", 1));
        assert!(text.contains("iseq ${tries} 5 && goto disk ||") && text.contains("inc pause ${pause}"));
        assert!(!text.contains("poweroff") && !text.contains("reboot"));
        assert!(text.ends_with(DISK));
    }

    #[test]
    fn each_try_asks_for_the_script_anew_and_counts_on() {
        let text = script(&boot("", 1));
        let after = text.split(":failed\n").nth(1).unwrap();
        let again = "chain --replace http://10.0.4.1:8080/b/52-54-00-00-00-01/boot.ipxe || goto failed\n";
        assert!(after.starts_with("iseq ${tries} 5 && goto disk ||\ninc tries\n") && after.contains(again), "{text}");
        // A script that began at zero again would never come to the disk.
        assert!(text.contains("\nisset ${tries} || set tries:int32 0\n") && !text.contains("\nset tries"), "{text}");
    }

    #[test]
    fn a4_what_a_script_would_run_cannot_be_an_argument() {
        for bad in
            ["a\nshell", "a\rb", "x #!ipxe", "a || shell", "a && b", "x=${net0/mac}", "`id`", "é", "a\0b", "#", "--"]
        {
            assert!(KernelArgs::new(bad).is_err(), "{bad:?}");
        }
        assert!(KernelArgs::new("console=ttyS0,115200n8 a=\"b|c\" x&y").is_ok());
    }

    #[test]
    fn b3_9_a_link_has_a_plain_path() {
        for bad in [
            "",
            "http://",
            "http:///x",
            "file:///etc/passwd",
            "http://a/b?c=d",
            "http://a/b&c",
            "http://a/ b",
            "http://a/${x}",
            "ftp://a/b",
            "http://a/\nb",
        ] {
            assert!(Link::new(bad).is_err(), "{bad:?}");
        }
        for good in
            ["http://10.0.0.1:8080/b/52-54-00-00-00-01/boot.ipxe", "https://[fd00::1]/x.efi", "tftp://10.0.0.1/a"]
        {
            assert!(
                Link::new(good).is_ok_and(|link| good.ends_with(link.path()) && link.path().starts_with('/')),
                "{good}"
            );
        }
        for bad in ["", "a b", "a\nb", "../x", "é"] {
            assert!(Initrd::new(bad, Link::new("http://a/b").unwrap()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_cannot_stand_in_a_script_is_told_with_what_is_expected_and_cut_to_eighty_signs() {
        let link = || Link::new("http://a/b").unwrap();
        let said = [
            KernelArgs::new("`id`").unwrap_err(),
            Link::new("ftp://a/b").unwrap_err(),
            Initrd::new("a b", link()).unwrap_err(),
        ]
        .map(|bad| bad.to_string());
        assert_eq!(
            said,
            [
                "\"`id`\" cannot be a kernel argument: printable ASCII without blanks, \"#!\", \"||\", \"&&\", \"${\" and backticks is expected",
                "\"ftp://a/b\" cannot be loaded from: expected is http://, https:// or tftp:// with a plain path",
                "\"a b\" cannot name an initrd: letters, digits, dot, dash and underscore are expected",
            ]
        );
        let long = "é".repeat(81);
        assert_eq!(Link::new(&long), Err(BadScript::Link { link: "é".repeat(80) }));
    }

    #[test]
    fn a_field_is_as_long_as_its_place_allows_and_not_longer() {
        let link = |length: usize| Link::new(&format!("http://a/{}", "b".repeat(length - 9)));
        assert!(link(1024).is_ok() && link(1025).is_err());
        let name = |length: usize| Initrd::new(&"n".repeat(length), link(10).unwrap());
        assert!(name(64).is_ok() && name(65).is_err());
        let arg = |length: usize| KernelArgs::new(&"a".repeat(length));
        assert!(arg(512).is_ok() && arg(513).is_err());
        assert!(KernelArgs::default().push("").is_err() && KernelArgs::default().push("a b").is_err());
        assert!(
            KernelArgs::new("!\t~").is_ok_and(|args| args.tokens().eq(["!", "~"])) && KernelArgs::new("\x7f").is_err()
        );
    }

    #[test]
    fn a_links_path_begins_at_the_servers_root() {
        for (text, path) in [("http://a:80/b/c", "/b/c"), ("tftp://a/", "/"), ("https://a", "")] {
            let link = Link::new(text).unwrap();
            assert_eq!((link.path(), link.to_string().as_str()), (path, text));
        }
    }

    proptest! {
        #[test]
        fn a4_no_field_adds_a_line(args: String, path: String, name: String, count in 0usize..4) {
            let lines = |script: &Script| super::script(script).lines().count();
            let plain = lines(&boot("", count));
            let link = Link::new(&format!("http://a/{path}")).or_else(|_| Link::new("http://a/b")).unwrap();
            let initrd = Initrd::new(&name, link.clone()).or_else(|_| Initrd::new("x", link.clone())).unwrap();
            let args = KernelArgs::new(&args).unwrap_or_default();
            let boot =
                AgentBoot { mac: Mac([0; 6]), script: link.clone(), kernel: link, initrds: vec![initrd; count], args };
            let script = Script::Agent(boot);
            prop_assert_eq!(lines(&script), plain);
            prop_assert_eq!(super::script(&script).matches("#!").count(), 1);
        }

        #[test]
        fn a4_ascii_arguments_are_kept_or_refused_whole(args in "[ -~]{0,60}") {
            if let Ok(read) = KernelArgs::new(&args) {
                let tokens: Vec<&str> = args.split(' ').filter(|token| !token.is_empty()).collect();
                prop_assert_eq!(read.0, tokens);
            }
        }
    }
}
