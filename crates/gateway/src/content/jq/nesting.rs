//! How deep a program's parts lie in each other, told from its signs alone: the parser goes down by one
//! call for each, and so does whoever runs or drops what it has read (D-17).

/// Levels that fit into the smallest stack on which programs are read and run.
const DEEPEST: usize = 100;

/// # Errors
/// When something lies deeper than that.
pub(super) fn check(source: &str) -> Result<(), String> {
    let mut levels = vec![Level::default()];
    let mut deep = 0;
    let mut bytes = source.bytes().peekable();
    let mut word = Vec::new();
    let mut in_text = false;
    while let Some(byte) = bytes.next() {
        if in_text {
            match byte {
                b'"' => in_text = false,
                // what stands in `\(…)` is a program again
                b'\\' if bytes.next() == Some(b'(') => {
                    levels.push(Level { in_text: true, ..Level::default() });
                    in_text = false;
                    deep += 1;
                }
                _ => {}
            }
            continue;
        }
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            word.push(byte);
            continue;
        }
        let joins = WORDS.contains(&&*word) || matches!(byte, b'|' | b'-' | b'+' | b'*' | b'/');
        word.clear();
        match byte {
            b'"' => in_text = true,
            b'#' => while bytes.next_if(|byte| *byte != b'\n').is_some() {},
            b'(' | b'[' | b'{' => {
                levels.push(Level { object: byte == b'{', ..Level::default() });
                deep += 1;
            }
            b')' | b']' | b'}' => {
                let level = levels.pop().unwrap_or_default();
                deep -= level.joined.min(deep);
                in_text = level.in_text;
                deep = deep.saturating_sub(1);
                if levels.is_empty() {
                    levels.push(Level::default());
                }
            }
            _ => {}
        }
        let Some(level) = levels.last_mut() else { continue };
        match byte {
            // what follows lies beside what was before
            b';' => {
                deep -= level.joined.min(deep);
                level.joined = 0;
            }
            b',' if level.object => {
                deep -= level.joined.min(deep);
                level.joined = 0;
            }
            _ if joins || byte == b',' => {
                level.joined += 1;
                deep += 1;
            }
            _ => {}
        }
        if deep > DEEPEST {
            return Err(format!("more than {DEEPEST} of its parts lie in each other"));
        }
    }
    Ok(())
}

/// Words behind which another part lies in the one before.
const WORDS: [&[u8]; 14] = [
    b"if", b"then", b"elif", b"else", b"and", b"or", b"not", b"try", b"catch", b"reduce",
    b"foreach", b"def", b"as", b"label",
];

/// What is open.
#[derive(Default)]
struct Level {
    object: bool,
    /// It stands in a text.
    in_text: bool,
    /// Parts that lie in each other within it.
    joined: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d_17_what_lies_too_deep_is_refused() {
        let times = |text: &str, count: usize| text.repeat(count);
        let around =
            |from: &str, to: &str, count| format!("{}.{}", times(from, count), times(to, count));
        let fields: Vec<String> =
            (0..500).map(|n| format!("f{n}: (.a{n} // \"x\" | tostring)")).collect();
        for (source, fits) in [
            (String::from(".items |= sort_by(.sku) | del(.secret)"), true),
            (format!("{{ {} }}", fields.join(", ")), true),
            (around("(", ")", 100), true),
            (around("(", ")", 101), false),
            (around("[", "]", 100_000), false),
            (around("{a:", "}", 100_000), false),
            (format!("{}.", times(".|", 100_000)), false),
            (format!("{}1", times("-", 100_000)), false),
            (format!("{}1", times("1,", 100_000)), false),
            (format!("{}1", times("1+", 100_000)), false),
            (format!("{}1", times("if . then ", 100_000)), false),
            (format!("{}1", times("not|", 100_000)), false),
            (around("\"\\(", ")\"", 100_000), false),
            (around("try ", "", 100_000), false),
            // signs in texts and remarks are none
            (format!("\"{}\"", times("(", 100_000)), true),
            (format!("\"\\\"{}\"", times("(", 100_000)), true),
            (format!("#{}\n.", times("(", 100_000)), true),
            (format!("{} 1", times("def f: 1; ", 99)), true),
            (times(")", 100_000), true),
        ] {
            assert_eq!(check(&source).is_ok(), fits, "{:.80}", source);
        }
    }
}
