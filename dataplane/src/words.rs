//! Words that many sessions say, each kept once.
//!
//! Thousands of players name the same stream and come with the same software: they share the words
//! instead of each having its own copy.

use std::collections::HashSet;
use std::sync::Arc;

/// Words of a table at most; a table that is full begins anew, and its words live on with those
/// who hold them.
const WORDS_MAX: usize = 1024;

/// Bytes of a word at most that is shared: longer ones are nobody else's.
pub(crate) const WORD_BYTES_MAX: usize = 256;

/// The words of one shard. Lives on: its shard. Crosses by: never.
#[derive(Debug, Default)]
pub(crate) struct Words(HashSet<Arc<str>>);

impl Words {
    /// Replaces `word` by the copy that is shared.
    pub(crate) fn share(&mut self, word: &mut Arc<str>) {
        if word.len() > WORD_BYTES_MAX {
            return;
        }
        if let Some(known) = self.0.get(word) {
            *word = Arc::clone(known);
            return;
        }
        if self.0.len() == WORDS_MAX {
            self.0.clear();
        }
        self.0.insert(Arc::clone(word));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_words_become_one() {
        let mut words = Words::default();
        let [mut a, mut b, mut c]: [Arc<str>; 3] = ["x", "x", "y"].map(Arc::from);
        for word in [&mut a, &mut b, &mut c] {
            words.share(word);
        }
        assert!(Arc::ptr_eq(&a, &b) && !Arc::ptr_eq(&a, &c));
        assert_eq!((&*b, &*c), ("x", "y"));
    }

    #[test]
    fn strangers_cannot_make_the_table_grow() {
        let mut words = Words::default();
        for n in 0..3 * WORDS_MAX {
            words.share(&mut Arc::from(n.to_string()));
            assert!(words.0.len() <= WORDS_MAX);
        }
        let held = words.0.len();
        words.share(&mut Arc::from("x".repeat(WORD_BYTES_MAX + 1)));
        assert_eq!(words.0.len(), held, "nor fill it with long words");
    }
}
