//! DNS messages as bytes: names, codes, queries, record data and responses. Knows no zone.

pub mod code;
pub mod cookie;
pub mod edns;
pub mod message;
pub mod name;
pub mod query;
pub mod rdata;
pub mod response;
