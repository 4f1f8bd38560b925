//! The boot path without I/O: requests, a view and the time go in; answers and lease changes come out.

pub mod tftp;
