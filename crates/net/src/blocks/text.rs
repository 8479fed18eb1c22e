//! Lists of blocks as text: one block or address a line.
//!
//! What follows `#` or `;` is a comment, and so is the rest of a line behind the first word, as the
//! lists that others publish have it. Empty lines are passed over.

use std::io::{self, BufRead};

use transom_settings::{Cidr, FromText, Refusal};

use super::Blocks;

/// More wrong lines than this are not told.
pub const TOLD: usize = 20;
/// Longer lines are no addresses; so much of them is kept.
const LONGEST: usize = 200;

/// A line that is neither a block nor a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub number: usize,
    pub why: Refusal,
}

/// Reads a list to its end: its blocks, or the first [`TOLD`] of the lines that are wrong and how
/// many there are.
///
/// # Errors
/// When it cannot be read.
pub fn read(mut from: impl BufRead) -> io::Result<Result<Blocks, (Vec<BadLine>, usize)>> {
    let (mut bad, mut wrong, mut number) = (Vec::new(), 0, 0);
    let mut blocks = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        if from.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        let Some(word) = word(&line) else { continue };
        let word = String::from_utf8_lossy(&word[..word.len().min(LONGEST)]);
        match Cidr::from_text(&word) {
            Ok(block) => blocks.push(block),
            Err(why) => {
                wrong += 1;
                if bad.len() < TOLD {
                    bad.push(BadLine { number, why });
                }
            }
        }
    }
    Ok(if wrong == 0 { Ok(blocks.into_iter().collect()) } else { Err((bad, wrong)) })
}

/// The first word of a line that is no comment.
fn word(line: &[u8]) -> Option<&[u8]> {
    let line = line.split(|byte| matches!(byte, b'#' | b';')).next()?;
    line.split(u8::is_ascii_whitespace).find(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_stand_one_a_line_among_comments() {
        let list = "# a list\n\n10.0.0.0/8\r\n  192.0.2.7   some words\n2001:db8::/32 ; ours\n\
                    ;10.0.0.1/8\n\t\n192.0.2.8#x";
        let blocks = read(list.as_bytes()).unwrap().unwrap();
        assert_eq!(blocks.len(), 4);
        for (address, expected) in
            [("10.1.1.1", true), ("192.0.2.7", true), ("192.0.2.8", true), ("192.0.2.9", false)]
        {
            assert_eq!(blocks.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert!(read(&b""[..]).unwrap().unwrap().is_empty());
    }

    #[test]
    fn every_wrong_line_is_told_with_its_number_but_not_all_of_very_many() {
        let (bad, wrong) =
            read(&b"10.0.0.1\nlocalhost\n10.0.0.1/8\n\xff\n"[..]).unwrap().unwrap_err();
        let told: Vec<_> = bad.iter().map(|line| (line.number, line.why.what.as_str())).collect();
        assert_eq!(told[0], (2, "`localhost` is not an IP address"));
        assert_eq!(told[1].0, 3);
        assert!(told[1].1.contains("the address is not the first of the block"));
        assert_eq!((told[2].0, wrong), (4, 3));
        let (bad, wrong) = read("x\n".repeat(1000).as_bytes()).unwrap().unwrap_err();
        assert_eq!((bad.len(), wrong), (TOLD, 1000));
    }
}
