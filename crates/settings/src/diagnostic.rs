//! Findings about a configuration, each with its place, its reason and its remedy.
//!
//! Findings are collected, never thrown: one look at the output mends the whole file.

use std::fmt::Write as _;

/// One file of a configuration, as an index into its [`Diagnostics`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(u32);

/// A stretch of one file: bytes `start..end`; line and column count from one, columns in letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub file: FileId,
    pub start: u32,
    pub end: u32,
    pub line: u32,
    pub column: u32,
}

impl Span {
    /// The place of what was written in no file, such as a default. Prints no place at all.
    pub const NOWHERE: Span = Span { file: FileId(u32::MAX), start: 0, end: 0, line: 0, column: 0 };

    /// The very beginning of a file.
    pub fn beginning(file: FileId) -> Span {
        Span { file, start: 0, end: 0, line: 1, column: 1 }
    }
}

impl Default for Span {
    fn default() -> Self {
        Span::NOWHERE
    }
}

/// Whether a finding refuses the configuration or only remarks on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// One finding: where, under which key, what is wrong and what to do.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    pub severity: Severity,
    pub place: Span,
    /// The keys that lead there: `listeners.web.routes[0].forward`. Empty for the whole file.
    pub path: String,
    /// A sentence in lower case without a full stop, values in backticks.
    pub what: String,
    /// The remedy, in the same form.
    pub hint: Option<String>,
    /// A second place that matters, and why.
    pub note: Option<(Span, String)>,
}

impl Diagnostic {
    /// A finding that refuses the configuration.
    pub fn error(place: Span, path: impl Into<String>, what: impl Into<String>) -> Self {
        let (path, what) = (path.into(), what.into());
        Diagnostic { severity: Severity::Error, place, path, what, hint: None, note: None }
    }

    /// A finding that only remarks.
    pub fn warning(place: Span, path: impl Into<String>, what: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(place, path, what) }
    }

    /// Adds the remedy.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds "did you mean", if there is something to suggest.
    pub fn suggest(mut self, suggestion: Option<&str>) -> Self {
        if let Some(suggestion) = suggestion {
            self.hint = Some(format!("did you mean {}?", quote(suggestion)));
        }
        self
    }

    /// Adds a second place.
    pub fn note(mut self, place: Span, note: impl Into<String>) -> Self {
        self.note = Some((place, note.into()));
        self
    }
}

/// Every finding about one configuration, and the texts they point into.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    sources: Vec<Source>,
    found: Vec<Diagnostic>,
    masked: Vec<Span>,
}

#[derive(Clone, Debug)]
struct Source {
    name: String,
    text: String,
}

impl Diagnostics {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file under the name that findings show, and returns its handle for spans.
    pub fn add_file(&mut self, name: impl Into<String>, text: impl Into<String>) -> FileId {
        self.sources.push(Source { name: name.into(), text: text.into() });
        FileId(u32::try_from(self.sources.len() - 1).unwrap_or(u32::MAX))
    }

    /// The name of a file, as given to [`Diagnostics::add_file`].
    pub fn file_name(&self, file: FileId) -> Option<&str> {
        Some(&self.source(file)?.name)
    }

    pub fn push(&mut self, finding: Diagnostic) {
        self.found.push(finding);
    }

    /// Adds what was found later about the same files. Its places are those of this collection.
    pub fn extend(&mut self, later: Diagnostics) {
        self.found.extend(later.found);
    }

    /// Never shows what stands at `place` when a line of the file is printed: it is a secret.
    pub fn mask(&mut self, place: Span) {
        self.masked.push(place);
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Whether any finding refuses the configuration.
    pub fn has_errors(&self) -> bool {
        self.found.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The findings in the order of the file.
    pub fn findings(&self) -> Vec<&Diagnostic> {
        let mut all: Vec<_> = self.found.iter().collect();
        all.sort_by_key(|finding| (finding.place, finding.severity));
        all
    }

    /// `file:line:column` of a span, or nothing for [`Span::NOWHERE`].
    pub fn place(&self, span: Span) -> Option<String> {
        let name = &self.source(span.file)?.name;
        Some(format!("{name}:{}:{}", span.line, span.column))
    }

    /// All findings in the order of the file, each with its line of source and its remedy.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for finding in self.findings() {
            self.render_one(finding, &mut out);
        }
        out
    }

    fn render_one(&self, finding: &Diagnostic, out: &mut String) {
        if let Some(place) = self.place(finding.place) {
            let _ = write!(out, "{place}: ");
        }
        if finding.severity == Severity::Warning {
            out.push_str("warning: ");
        }
        if !finding.path.is_empty() {
            let _ = write!(out, "{}: ", printable(&finding.path));
        }
        let _ = writeln!(out, "{}", printable(&finding.what));
        self.render_source(finding.place, out);
        if let Some((place, note)) = &finding.note {
            let note = printable(note);
            match self.place(*place) {
                Some(place) => _ = writeln!(out, "  note: {place}: {note}"),
                None => _ = writeln!(out, "  note: {note}"),
            }
        }
        if let Some(hint) = &finding.hint {
            let _ = writeln!(out, "  hint: {}", printable(hint));
        }
    }

    /// The line a span begins on, and carets under the part of the span that stands on it.
    fn render_source(&self, span: Span, out: &mut String) {
        let Some(source) = self.source(span.file) else { return };
        let text = &source.text;
        let start = floor(text, span.start as usize);
        let end = floor(text, span.end as usize).max(start);
        // A file may be one long line with a finding at every key: look no further than is shown.
        let near = floor(text, start.saturating_sub(REACH));
        let far = floor(text, start + REACH);
        let line_start = text[near..start].rfind('\n').map_or(near, |at| near + at + 1);
        let line_end = text[start..far].find('\n').map_or(far, |at| start + at);
        if line_start == line_end {
            return;
        }
        let (mut line, mut carets) = (String::new(), String::new());
        let from = window_start(&text[line_start..start]) + line_start;
        if from > line_start {
            line.push_str("...");
            carets.push_str("   ");
        }
        let mut letters = line.len();
        for (at, c) in text[from..line_end].char_indices().map(|(at, c)| (from + at, c)) {
            letters += 1;
            if letters > WIDTH + 1 {
                line.push_str("...");
                break;
            }
            if c == '\r' && at + 1 == line_end {
                break;
            }
            let hidden = self.masked.iter().any(|mask| {
                mask.file == span.file && (mask.start as usize..mask.end as usize).contains(&at)
            });
            line.push(if hidden { '*' } else { plain(c) });
            carets.push(if at == start || (start..end).contains(&at) { '^' } else { ' ' });
        }
        if !carets.contains('^') {
            carets.push('^');
        }
        let number = span.line.to_string();
        let gutter = " ".repeat(number.len());
        let _ = writeln!(out, "  {number} | {}", line.trim_end());
        let _ = writeln!(out, "  {gutter} | {}", carets.trim_end());
    }

    fn source(&self, file: FileId) -> Option<&Source> {
        self.sources.get(file.0 as usize)
    }
}

/// Letters of a source line that are shown before it is cut.
const WIDTH: usize = 160;

/// Bytes that many letters and one more take at most.
const REACH: usize = 4 * (WIDTH + 2);

/// Where to begin a long line so that the finding is on the screen.
fn window_start(before: &str) -> usize {
    let letters = before.chars().count();
    if letters <= WIDTH / 2 {
        return 0;
    }
    before.char_indices().nth(letters - WIDTH / 4).map_or(0, |(at, _)| at)
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// What the file holds must not steer the terminal it is shown on.
fn plain(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

fn printable(text: &str) -> String {
    text.chars().map(plain).collect()
}

/// The text in backticks, cut to what fits in a sentence.
pub fn quote(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = text.chars().take(SHOWN).map(plain).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push_str("...");
    }
    format!("`{shown}`")
}

/// The names in backticks as a sentence lists them: `` `a`, `b` or `c` ``.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>, last: &str) -> String {
    let names: Vec<String> = names.into_iter().map(quote).collect();
    match names.split_last() {
        None => String::new(),
        Some((only, [])) => only.clone(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(text: &str, part: &str, file: FileId) -> Span {
        let start = text.find(part).unwrap();
        let line = text[..start].matches('\n').count() + 1;
        let column = start - text[..start].rfind('\n').map_or(0, |at| at + 1) + 1;
        Span {
            file,
            start: start as u32,
            end: (start + part.len()) as u32,
            line: line as u32,
            column: column as u32,
        }
    }

    #[test]
    fn a_finding_shows_place_source_and_remedy() {
        let text = "a: 1\nroutes:\n  - forward: order\n";
        let mut all = Diagnostics::new();
        let file = all.add_file("transom.yaml", text);
        all.push(
            Diagnostic::error(
                span(text, "order", file),
                "listeners.web.routes[0].forward",
                "no pool named `order`",
            )
            .suggest(Some("orders")),
        );
        all.push(
            Diagnostic::warning(span(text, "a", file), "a", "not used")
                .note(span(text, "routes", file), "look here"),
        );
        assert_eq!(
            all.render(),
            "transom.yaml:1:1: warning: a: not used\n  1 | a: 1\n    | ^\n  note: transom.yaml:2:1: look here\n\
             transom.yaml:3:14: listeners.web.routes[0].forward: no pool named `order`\n  3 |   - forward: order\n    |              ^^^^^\n  hint: did you mean `orders`?\n"
        );
    }

    #[test]
    fn secrets_and_control_characters_are_not_shown() {
        let text = "{ tokne: x, token: hunter2\u{1b}[31m }";
        let mut all = Diagnostics::new();
        let file = all.add_file("f", text);
        all.mask(span(text, "hunter2", file));
        all.push(Diagnostic::error(span(text, "tokne", file), "", "unknown key `tokne`"));
        let shown = all.render();
        assert!(!shown.contains("hunter2") && !shown.contains('\u{1b}'), "{shown}");
        assert!(shown.contains("token: *******"), "{shown}");

        // Sentences quote the file too, and not all of them cut it.
        let mut all = Diagnostics::new();
        let place = Span::NOWHERE;
        let finding = Diagnostic::error(place, "", "no `\u{1b}`").hint("meant `/\u{1}`?");
        all.push(finding.note(place, "\n"));
        assert_eq!(all.render(), "no `\u{fffd}`\n  note: \u{fffd}\n  hint: meant `/\u{fffd}`?\n");
    }

    /// A long file in one line with a finding at every key took minutes to show.
    #[test]
    fn a_long_line_is_shown_as_a_window_around_the_finding() {
        let text = "ü: 1, ".repeat(1 << 14);
        let mut all = Diagnostics::new();
        let file = all.add_file("f", text.as_str());
        let at = |n: usize| (n * "ü: 1, ".len()) as u32;
        for n in 0..1 << 14 {
            let place = Span { file, start: at(n), end: at(n) + 2, line: 1, column: 1 };
            all.push(Diagnostic::error(place, "", "x"));
        }
        let shown = all.render();
        let rows: Vec<&str> = shown.lines().collect();
        let window = format!("  1 | {}...", &"ü: 1, ".repeat(27)[..27 * 7 - 1]);
        assert_eq!(rows[..3], ["f:1:1: x", &window, "    | ^"]);
        assert!(rows[3001].starts_with("  1 | ...") && rows[3001].ends_with("..."));
        assert_eq!(rows[3001].chars().count(), "  1 | ...".len() + 158 + "...".len());
        assert_eq!(rows[3002].trim_start(), "| ".to_owned() + &" ".repeat(43) + "^");
    }

    #[test]
    fn lists_read_as_sentences() {
        assert_eq!(list(["a"], "or"), "`a`");
        assert_eq!(list(["a", "b", "c"], "or"), "`a`, `b` or `c`");
    }
}
