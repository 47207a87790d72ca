//! "Did you mean …": the nearest of the names that would have been right.

/// The candidate nearest to `word`, where one is near enough to have been meant; the first one among equals.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let limit = (word.chars().count() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let distance = strsim::osa_distance(&word, &candidate.to_lowercase());
        if distance <= limit && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// A hint: `did you mean "x"?`, or, where nothing is near, all that is there: `there is a, b, c`.
///
/// Returns `None` where there is nothing to choose from. `what` names the candidates: "known fields", "columns".
pub(crate) fn hint(word: &str, candidates: &[&str], what: &str) -> Option<String> {
    if candidates.is_empty() {
        return None;
    }
    match nearest(word, candidates.iter().copied()) {
        Some(near) => Some(format!("did you mean \"{near}\"?")),
        None => Some(format!("{what}: {}", list(candidates))),
    }
}

/// Names with commas, cut after the first 40.
pub(crate) fn list(names: &[&str]) -> String {
    const NAMES_MAX: usize = 40;
    let mut text = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_MAX {
        text.push_str(&format!(", … ({} more)", names.len() - NAMES_MAX));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_listed() {
        assert_eq!(nearest("wher", ["from", "where"]), Some("where"));
        assert_eq!(nearest("Provider", ["model", "provider"]), Some("provider"));
        assert_eq!(nearest("xyz", ["from", "where"]), None);
        assert_eq!(hint("xyz", &["from", "where"], "known fields").unwrap(), "known fields: from, where");
        assert_eq!(hint("xyz", &[], "known fields"), None);
    }
}
