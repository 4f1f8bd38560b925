//! What the tests of Muster stand on. No product crate imports this one.
//!
//! [`tree`] reads the repository itself: who imports whom, how long a file is, which words it uses, whether a link
//! leads anywhere. [`told`] reads the command lines of the programs that are kept here, and
//! [`data_files`] the files that a test's site starts from.

pub mod data_files;
pub mod ipmi_peers;
pub mod ipmi_sim;
pub mod redfish_sim;
pub mod told;
pub mod tree;
