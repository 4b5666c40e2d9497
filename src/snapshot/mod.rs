//! The immutable set.
