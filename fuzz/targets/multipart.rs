//! Forms with files: the same however they are cut, and what is read of them is what was sent.
//!
//! The first byte is how long the pieces are; the boundary is `b`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use transom_gateway::content::multipart::{Event, Head, Part, Reader, whole};

const KIND: &str = "multipart/form-data; boundary=b";

fuzz_target!(|raw: &[u8]| {
    // a header of anything is refused or has a boundary, and nothing worse
    let _ = Reader::of(&String::from_utf8_lossy(raw));
    let Some((step, bytes)) = raw.split_first() else { return };
    let read = whole(KIND, bytes);
    assert_eq!(in_pieces(bytes, usize::from(*step).max(1)), read);
    for part in read.unwrap_or_default() {
        let Part { head: Head { name, essence, .. }, body } = part;
        assert!(!name.contains(['\r', '\n', '"']) && !essence.contains([';', '\n']));
        assert!(body.is_empty() || bytes.windows(body.len()).any(|window| window == body));
        assert!(!body.windows(5).any(|window| window == b"\r\n--b"));
    }
});

fn in_pieces(bytes: &[u8], step: usize) -> Result<Vec<Part>, String> {
    let mut reader = Reader::of(KIND)?;
    let mut parts: Vec<Part> = Vec::new();
    for piece in bytes.chunks(step) {
        reader.read(piece, &mut |event| {
            match event {
                Event::Part(_) if parts.len() == 1000 => {
                    return Err("the form has more than 1000 parts".to_owned());
                }
                Event::Part(head) => parts.push(Part { head, body: Vec::new() }),
                Event::Data(data) => parts.last_mut().expect("a part").body.extend(data),
                Event::Over => {}
            }
            Ok(())
        })?;
    }
    reader.end()?;
    Ok(parts)
}
