//! A filter in the kernel, after which this process cannot send: what would send, or open something to send by, fails with
//! "not permitted", in every thread that runs and every one that comes. Set once, it cannot be taken off.

use std::io;

/// Calls that send, open or lend a socket, or start another program.
const FORBIDDEN: [libc::c_long; 20] = [
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_pidfd_getfd,
    libc::SYS_dup3,
];
/// Calls that write to a descriptor: left for standard output and standard error alone.
const WRITING: [libc::c_long; 5] =
    [libc::SYS_write, libc::SYS_writev, libc::SYS_pwrite64, libc::SYS_pwritev, libc::SYS_pwritev2];

#[cfg(target_arch = "x86_64")]
const ARCH: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCH: u32 = 0xc000_00b7;

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

const ALLOW: u32 = 0x7fff_0000;
const REFUSE: u32 = 0x0005_0000 | libc::EPERM as u32;

const LOAD: u16 = 0x20;
const EQUAL: u16 = 0x15;
const AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;

fn step(code: u16, k: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt, jf, k }
}

/// One decision after the other, each of which falls through or returns.
fn program() -> Vec<libc::sock_filter> {
    let mut steps = vec![
        step(LOAD, ARCHITECTURE),
        jump(EQUAL, ARCH, 1, 0),
        step(RETURN, REFUSE),
        step(LOAD, NUMBER),
        // The second set of numbers that x86-64 has for the same calls.
        jump(AT_LEAST, 0x4000_0000, 0, 1),
        step(RETURN, REFUSE),
    ];
    for call in FORBIDDEN {
        steps.push(jump(EQUAL, u32::try_from(call).unwrap_or(u32::MAX), 0, 1));
        steps.push(step(RETURN, REFUSE));
    }
    for call in WRITING {
        steps.push(jump(EQUAL, u32::try_from(call).unwrap_or(u32::MAX), 0, 5));
        steps.push(step(LOAD, FIRST_ARGUMENT));
        steps.push(jump(EQUAL, 1, 2, 0));
        steps.push(jump(EQUAL, 2, 1, 0));
        steps.push(step(RETURN, REFUSE));
        steps.push(step(RETURN, ALLOW));
    }
    steps.push(step(RETURN, ALLOW));
    steps
}

/// From here on this process, and whatever it starts, sends nothing.
pub fn seal() -> io::Result<()> {
    let mut steps = program();
    let length = u16::try_from(steps.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let filter = libc::sock_fprog { len: length, filter: steps.as_mut_ptr() };
    // SAFETY: both take plain numbers, and a pointer to a program that lives through the call with its true length.
    let rc = unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const filter,
        )
    };
    match rc {
        0 => Ok(()),
        // The number of a thread that could not follow.
        thread if thread > 0 => Err(io::Error::other(format!("thread {thread} cannot be sealed"))),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use std::net::UdpSocket;

    const CHILD: &str = "MUSTER_SEALED_CHILD";

    /// In a process of its own: a seal is for ever, and for all threads.
    #[test]
    fn who_is_sealed_sends_nothing_and_opens_nothing_to_send_by() {
        if std::env::var_os(CHILD).is_some() {
            return sealed();
        }
        let own = std::env::current_exe().unwrap();
        let name = "shadow::seal::tests::who_is_sealed_sends_nothing_and_opens_nothing_to_send_by";
        let child =
            std::process::Command::new(own).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().unwrap();
        assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    }

    fn sealed() {
        let open = UdpSocket::bind("127.0.0.1:0").unwrap();
        let ear = UdpSocket::bind("127.0.0.1:0").unwrap();
        ear.set_nonblocking(true).unwrap();
        let to = ear.local_addr().unwrap();
        open.connect(to).unwrap();
        let file = std::env::temp_dir().join(format!("muster-seal-{}", std::process::id()));
        let mut kept = std::fs::File::create(&file).unwrap();
        let (begun, wait) = std::sync::mpsc::channel::<()>();
        let other = open.try_clone().unwrap();
        let earlier = std::thread::spawn(move || {
            wait.recv().unwrap();
            other.send(b"x").map(drop)
        });
        seal().unwrap();
        begun.send(()).unwrap();
        let refused = [
            open.send_to(b"x", to).map(drop),
            open.send(b"x").map(drop),
            UdpSocket::bind("127.0.0.1:0").map(drop),
            std::net::TcpStream::connect(to).map(drop),
            kept.write_all(b"x"),
            std::process::Command::new("/bin/true").status().map(drop),
            earlier.join().unwrap(),
        ];
        std::fs::remove_file(file).unwrap();
        assert_eq!(refused.map(|one| one.err().and_then(|error| error.raw_os_error())), [Some(libc::EPERM); 7]);
        // What is told to a person still goes out.
        std::io::stderr().write_all(b"sealed\n").unwrap();
        let mut room = [0; 8];
        assert_eq!(ear.recv(&mut room).unwrap_err().kind(), std::io::ErrorKind::WouldBlock, "a datagram left");
    }
}
