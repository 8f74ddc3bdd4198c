//! A label row: everything foreign in it stays byte for byte, our answers are merged in.

/// A label row as Encord sent it.
#[derive(Debug, Clone)]
pub struct LabelRow {}
