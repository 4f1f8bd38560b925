//! A BMC that speaks Redfish.
