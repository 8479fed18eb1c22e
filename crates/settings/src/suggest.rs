//! "Did you mean": the known name closest to what was written, or what others call so.

use crate::elsewhere;

/// The candidate nearest to `word`, or nothing if none is near enough to be a slip of the hand.
///
/// Near means a Damerau-Levenshtein distance of one for words up to four letters, two up to
/// eight and three beyond. Letter case and the difference between `-` and `_` cost nothing.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    elsewhere::meant(word, &candidates).or_else(|| slip(word, &candidates))
}

fn slip<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let folded = fold(word);
    if folded.is_empty() || folded.len() > LONGEST {
        return None;
    }
    let allowed = match folded.len() {
        0..=4 => 1,
        5..=8 => 2,
        _ => 3,
    };
    candidates
        .iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (distance(&folded, &fold(candidate)), *candidate))
        // a distance as long as the word would suggest anything for anything
        .filter(|&(distance, _)| distance <= allowed && distance < folded.len())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Names beyond this length are not compared: the comparison costs the product of the lengths.
const LONGEST: usize = 64;

fn fold(word: &str) -> Vec<char> {
    word.chars().flat_map(char::to_lowercase).map(|c| if c == '_' { '-' } else { c }).collect()
}

/// Optimal string alignment: insert, delete, replace, or swap two neighbours, each at cost one.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        let known = ["orders", "users", "carts", "round-robin", "tls", "to"];
        for (word, expected) in [
            ("order", Some("orders")),
            ("odrers", Some("orders")),
            ("Users", Some("users")),
            ("round_robin", Some("round-robin")),
            ("tsl", Some("tls")),
            ("payments", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(closest(word, known), expected, "{word}");
        }
    }
}
