//! Instructions a query, by kind of answer.

fn main() {}
