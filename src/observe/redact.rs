//! A query with its secrets taken out, as far as names and forms give them away (M-07).

const MASK: &[u8] = b"***";

/// Names that mean a secret on their own. Compared without case, `-`, `_`, `.` and brackets.
const NAMES: [&[u8]; 14] = [
    b"auth",
    b"code",
    b"credential",
    b"credentials",
    b"jwt",
    b"key",
    b"pass",
    b"pin",
    b"pwd",
    b"samlresponse",
    b"session",
    b"sessionid",
    b"sid",
    b"sig",
];

/// Endings of names that mean a secret: `access_token`, `X-Amz-Signature`, `user[password]`.
const ENDINGS: [&[u8]; 11] = [
    b"accesskey",
    b"apikey",
    b"assertion",
    b"authorization",
    b"credential",
    b"passwd",
    b"password",
    b"passphrase",
    b"secret",
    b"signature",
    b"token",
];

/// Writes `query` with the value of every secret replaced by `***`.
pub(super) fn query(query: &[u8], out: &mut Vec<u8>) {
    let mut rest = query;
    loop {
        // Some servers read `;` as `&`, and a secret behind it is one for them.
        let end = rest.iter().position(|b| matches!(b, b'&' | b';'));
        pair(&rest[..end.unwrap_or(rest.len())], out);
        let Some(end) = end else { return };
        out.push(rest[end]);
        rest = &rest[end + 1..];
    }
}

fn pair(pair: &[u8], out: &mut Vec<u8>) {
    let Some(equals) = pair.iter().position(|b| *b == b'=') else {
        let secret = looks_secret(pair);
        return out.extend_from_slice(if secret { MASK } else { pair });
    };
    let (name, value) = (&pair[..equals], &pair[equals + 1..]);
    out.extend_from_slice(&pair[..=equals]);
    let secret = !value.is_empty() && (is_secret(name) || looks_secret(value));
    out.extend_from_slice(if secret { MASK } else { value });
}

/// Whether a name stands for a secret, however it is written.
fn is_secret(name: &[u8]) -> bool {
    // Only the end of a long name decides.
    let mut letters = [0; 32];
    let mut count = 0;
    for b in decoded(name).filter(u8::is_ascii_alphanumeric) {
        if count == letters.len() {
            letters.copy_within(1.., 0);
            count -= 1;
        }
        letters[count] = b.to_ascii_lowercase();
        count += 1;
    }
    let letters = &letters[..count];
    NAMES.contains(&letters) || ENDINGS.iter().any(|ending| letters.ends_with(ending))
}

/// Whether a value is a JWT, a private key or a URL with a password, whatever its name.
fn looks_secret(value: &[u8]) -> bool {
    if value.starts_with(b"eyJ") {
        return true;
    }
    let mut seen = 0;
    let mut authority = false;
    for b in decoded(value) {
        seen = match (seen, b) {
            (0, b':') | (_, b':') => 1,
            (1, b'/') => 2,
            (2, b'/') => {
                authority = true;
                0
            }
            _ => 0,
        };
        if authority && b == b'@' {
            return true;
        }
    }
    value.starts_with(b"-----BEGIN")
}

/// The bytes with their percent-encoding taken off.
fn decoded(text: &[u8]) -> impl Iterator<Item = u8> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|digit| digit as u8);
    let mut rest = text;
    std::iter::from_fn(move || {
        let (first, after) = rest.split_first()?;
        if let (b'%', [high, low, after @ ..]) = (first, after)
            && let (Some(high), Some(low)) = (digit(*high), digit(*low))
        {
            rest = after;
            return Some(high << 4 | low);
        }
        rest = after;
        Some(*first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_a_query_are_masked_and_nothing_else() {
        for (given, expected) in [
            ("", ""),
            ("page=2&sort=name", "page=2&sort=name"),
            ("token=abc", "token=***"),
            ("a=1&access_token=abc&b=2", "a=1&access_token=***&b=2"),
            ("API-Key=abc;x=1", "API-Key=***;x=1"),
            ("%74oken=abc", "%74oken=***"),
            ("user[password]=abc", "user[password]=***"),
            ("user%5Bpassword%5D=abc", "user%5Bpassword%5D=***"),
            ("X-Amz-Signature=abc&X-Amz-Date=1", "X-Amz-Signature=***&X-Amz-Date=1"),
            ("code=abc&zipcode=1&state=x", "code=***&zipcode=1&state=x"),
            ("key=a=b&monkey=1", "key=***&monkey=1"),
            ("token=", "token="),
            ("token", "token"),
            ("secret=%00&&=x&=", "secret=***&&=x&="),
            ("q=eyJhbGciOiJIUzI1NiJ9.e30.x", "q=***"),
            ("eyJhbGciOiJIUzI1NiJ9.e30.x", "***"),
            ("next=https%3A%2F%2Fu:p%40host/", "next=***"),
            ("next=https://host/a", "next=https://host/a"),
            ("mail=a@example.com&t=12:30", "mail=a@example.com&t=12:30"),
            ("a%=1&b%2=2&%zz=3", "a%=1&b%2=2&%zz=3"),
        ] {
            let mut out = Vec::new();
            query(given.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_long_name_is_known_by_its_end() {
        let name = format!("{}_token", "x".repeat(100));
        assert!(is_secret(name.as_bytes()));
    }
}
