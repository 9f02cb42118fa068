//! The physics of many acrobots at once.
