//! Tables of the words that stand for values in documents.

/// A table: each value once, each word once.
pub(crate) type Words<T> = &'static [(&'static str, T)];

/// The word of a value.
pub(crate) fn word<T: Copy + PartialEq>(words: Words<T>, value: T) -> &'static str {
    let found = words.iter().find(|(_, known)| *known == value);
    // Every table is complete: a test walks it.
    found.map_or("", |(word, _)| *word)
}

/// The value of a word.
pub(crate) fn meaning<T: Copy>(words: Words<T>, text: &str) -> Option<T> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value)
}
