//! The only sockets on 67, 4011, 69 and boot-HTTP. Bytes become netboot's plain values here and go back as bytes;
//! who a machine is and where a lease is kept is passed in.

pub mod dhcp;
pub mod http;
pub mod tftp;
