//! What a person wrote, with its places.
