//! Nearest: the known name that a misspelt one most likely meant.

/// The candidate with the fewest edits, if it is near enough to be a likely intention.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let near = name.chars().count().div_ceil(3).max(2);
    let scored = candidates.map(|candidate| (distance(name, candidate), candidate));
    scored.min_by_key(|&(edits, _)| edits).filter(|&(edits, _)| edits <= near).map(|(_, c)| c)
}

/// Levenshtein's distance: insertions, deletions and replacements of one letter.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_edits() {
        for (a, b, edits) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0)] {
            assert_eq!(distance(a, b), edits);
            assert_eq!(distance(b, a), edits);
        }
    }

    #[test]
    fn a_far_name_suggests_nothing() {
        let known = ["batch_ms_max", "stall_ms"];
        assert_eq!(nearest("batch_max_ms", known.into_iter()), Some("batch_ms_max"));
        assert_eq!(nearest("stal_ms", known.into_iter()), Some("stall_ms"));
        assert_eq!(nearest("colour", known.into_iter()), None);
    }
}
