//! Sockets to `answer()` and back.
