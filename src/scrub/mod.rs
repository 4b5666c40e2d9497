//! The parallel filter.
