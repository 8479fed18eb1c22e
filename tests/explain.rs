//! Golden files: what `transom explain` tells, word for word.
//!
//! Each `tests/explain/NAME.yaml` holds the questions in its first lines, as they would be typed,
//! and the answers are in `NAME.out`. With `BLESS=1` they are written instead of compared.

use std::path::Path;

use transom::build::{Snapshot, build};
use transom::explain::{Connecting, Question, explain, explain_tcp, fault, from};
use transom::load::{Loaded, Seen, from_text};
use transom::materials::Materials;

/// The words of a line, as a shell takes them apart.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            letter => words.last_mut().unwrap().push(letter),
        }
    }
    words
}

fn answer(snapshot: &Snapshot, loaded: &Loaded, line: &str) -> Result<String, String> {
    let words = words(line);
    if words[0] == "fault" {
        return fault(&words[1]);
    }
    if words[0] == "tcp" {
        let mut question = Connecting::new(&words[1]);
        for option in words[2..].chunks(2) {
            match option[0].as_str() {
                "--sni" => question.sni = Some(option[1].clone()),
                "--alpn" => question.alpn.push(option[1].clone()),
                _ => question.from = from(&option[1])?,
            }
        }
        return explain_tcp(snapshot, &question).map(|(_, text)| text);
    }
    let mut question = Question::new(&words[0], &words[1]);
    let mut options = words[2..].iter();
    while let Some(option) = options.next() {
        let value = options.next().unwrap();
        match option.as_str() {
            "-H" => question.headers.push(value.clone()),
            _ => question.from = from(value)?,
        }
    }
    explain(snapshot, &loaded.findings, &question).map(|explanation| explanation.text)
}

#[test]
fn explanations_are_word_for_word_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/explain");
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "yaml") {
            continue;
        }
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let loaded = from_text(Path::new(&name), &text, false, &|_| None);
        let loaded = loaded.map_err(|findings| findings.render()).unwrap();
        let materials = Materials::load(&loaded.config, &folder, &mut Seen::default()).unwrap();
        let snapshot = build(&loaded.config, &materials, None, &|_, _| Vec::new());
        let snapshot = snapshot.map_err(|findings| findings.render()).unwrap();
        let mut told = String::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("# explain ")) {
            let answer = match answer(&snapshot, &loaded, line) {
                Ok(answer) => answer,
                Err(why) => format!("error: {why}\n"),
            };
            told.push_str(&format!("$ transom explain {line}\n{answer}\n"));
        }
        let golden = path.with_extension("out");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, told).unwrap();
        } else if std::fs::read_to_string(&golden).unwrap_or_default() != told {
            wrong.push(format!("{name} tells:\n{told}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
