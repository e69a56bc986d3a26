//! Queries: what is read from the octets of one.
