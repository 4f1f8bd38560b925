//! Router advertisements on provisioning networks.
