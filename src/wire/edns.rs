//! EDNS (RFC 6891): the OPT record of a query and of a response.
