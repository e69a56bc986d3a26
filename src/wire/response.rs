//! Responses: written plainly, with names compressed.
