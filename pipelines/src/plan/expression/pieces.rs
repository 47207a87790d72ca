//! The conditions of an expression that is no SQL as a whole: those that are SQL by themselves can be looked at.
//!
//! ```text
//!   tokens > 1 and upper(x, y) = 'a' and 1 )   ──▶ tokens > 1   upper(x, y) = 'a'   1
//! ```

/// How many are looked at.
const PIECES_MAX: usize = 200;

/// The pieces of an expression between "and", "or" and the commas outside of brackets, without brackets that are closed or opened
/// elsewhere. What can't be told from the inside of a text, or may name other things than columns, is none.
pub(super) fn pieces(sql: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut first_quote = None;
    let (mut start, mut depth, mut quote) = (0, 0_usize, None);
    let mut word: Option<usize> = None;
    for (at, c) in sql.char_indices().chain([(sql.len(), ' ')]) {
        if quote.is_some() {
            quote = quote.filter(|closing| *closing != c);
            continue;
        }
        if c.is_alphanumeric() || c == '_' {
            word.get_or_insert(at);
            continue;
        }
        if let Some(begins) = word.take() {
            match sql[begins..at].to_lowercase().as_str() {
                "and" | "or" => {
                    found.push(&sql[start..begins]);
                    start = at;
                }
                // The columns of a query are none of the step's.
                "select" => return Vec::new(),
                _ => {}
            }
        }
        match c {
            '\'' | '"' => {
                first_quote.get_or_insert(found.len());
                quote = Some(c);
            }
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                found.push(&sql[start..at]);
                start = at + 1;
            }
            // The variables of a lambda are no columns.
            '>' if sql[..at].ends_with('-') => return Vec::new(),
            _ => {}
        }
    }
    found.push(&sql[start..]);
    if quote.is_some() {
        // Any of the quotes may be the one too many.
        found.truncate(first_quote.unwrap_or_default());
    }
    let found = found.into_iter().map(balanced).filter(|piece| !piece.is_empty());
    found.take(PIECES_MAX).collect()
}

/// A piece without the brackets at its ends that are not its own.
fn balanced(piece: &str) -> &str {
    let mut piece = piece.trim();
    loop {
        let (opened, closed) = unmatched(piece);
        let shorter = match (opened, closed) {
            (true, _) if piece.starts_with('(') => piece.strip_prefix('('),
            (_, true) if piece.ends_with(')') => piece.strip_suffix(')'),
            _ => None,
        };
        match shorter {
            Some(shorter) => piece = shorter.trim(),
            None => return piece,
        }
    }
}

/// Whether brackets are opened and never closed, and closed and never opened.
fn unmatched(piece: &str) -> (bool, bool) {
    let (mut open, mut closed, mut quote) = (0_usize, false, None);
    for c in piece.chars() {
        match (quote, c) {
            (Some(closing), c) if closing == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => open += 1,
            (None, ')') if open == 0 => closed = true,
            (None, ')') => open -= 1,
            (None, _) => {}
        }
    }
    (open > 0, closed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_taken_apart() {
        for (sql, expected) in [
            ("a > 1 and 1 ) OR b", vec!["a > 1", "1", "b"]),
            ("(a > 1 and (f(b, c) or d)", vec!["a > 1", "f(b, c)", "d"]),
            ("sum(a, b and c", vec!["sum(a, b", "c"]),
            ("1 ) and f(a, b)", vec!["1", "f(a, b)"]),
            ("a, 'b, c' and band", vec!["a", "'b, c'", "band"]),
            ("x = 'a and b' and \"and\" > 1 and", vec!["x = 'a and b'", "\"and\" > 1"]),
            ("a and x = it's and b", vec!["a"]),
            ("any(l, v -> v and w", vec![]),
            ("a in (select b from c and d", vec![]),
        ] {
            assert_eq!(pieces(sql), expected, "{sql}");
        }
    }
}
