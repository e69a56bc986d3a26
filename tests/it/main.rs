//! The one integration binary.

mod decide;
mod forests;
