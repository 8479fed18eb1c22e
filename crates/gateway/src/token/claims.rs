//! Whether a token that is real is for us, and for now.

use transom_settings::json::{Map, Value as Json};

use super::Refused;

/// What a token must say.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// One of them must have issued it, letter for letter. None: anybody whose key fits.
    pub issuers: Vec<String>,
    /// It must be for one of them, letter for letter. None: for anybody.
    pub audiences: Vec<String>,
    /// Claims that must be there.
    pub required: Vec<String>,
    /// What it may call itself (`typ`), in lower case; one that says nothing may pass.
    pub kinds: Vec<String>,
    /// By how many seconds clocks may differ.
    pub leeway: i64,
}

/// The second after which nothing is believed any more.
pub type Until = i64;

impl Rules {
    /// Judges claims whose signature is right; `now` in seconds since 1970.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn judge(
        &self,
        claims: &Map<String, Json>,
        kind: Option<&str>,
        now: i64,
    ) -> Result<Until, Refused> {
        let refuse = |why| Err(Refused::Claims(why));
        if kind.is_some_and(|kind| !self.kinds.iter().any(|each| each == kind)) {
            return refuse("it is a token of another type");
        }
        if !self.required.iter().all(|name| claims.get(name).is_some_and(|c| !c.is_null())) {
            return refuse("a claim that must be there is missing");
        }
        if !self.issuers.is_empty() {
            let issuer = claims.get("iss").and_then(Json::as_str);
            if !issuer.is_some_and(|issuer| self.issuers.iter().any(|each| each == issuer)) {
                return refuse("it was issued by somebody else");
            }
        }
        if !self.audiences.is_empty() && !self.is_for_us(claims.get("aud")) {
            return refuse("it is for somebody else");
        }
        let expires = seconds(claims, "exp")?;
        let until = expires.map_or(i64::MAX, |at| at.saturating_add(self.leeway));
        if now >= until {
            return refuse("it has expired");
        }
        let soon = now.saturating_add(self.leeway);
        if seconds(claims, "nbf")?.is_some_and(|from| from > soon) {
            return refuse("it is not valid yet");
        }
        if seconds(claims, "iat")?.is_some_and(|at| at > soon) {
            return refuse("it was issued in the future");
        }
        Ok(until)
    }

    /// RFC 7519 §4.1.3: one name, or a list that has ours in it.
    fn is_for_us(&self, audience: Option<&Json>) -> bool {
        let ours = |name: &Json| name.as_str().is_some_and(|name| self.has_audience(name));
        match audience {
            Some(Json::Array(list)) => list.iter().any(ours),
            Some(one) => ours(one),
            None => false,
        }
    }

    fn has_audience(&self, name: &str) -> bool {
        self.audiences.iter().any(|each| each == name)
    }
}

/// A time in whole seconds. Texts and fractions are refused: what they mean is for everybody to
/// guess.
fn seconds(claims: &Map<String, Json>, name: &str) -> Result<Option<i64>, Refused> {
    let Some(time) = claims.get(name) else { return Ok(None) };
    match (time.as_i64(), time.as_u64()) {
        (Some(time), _) => Ok(Some(time)),
        (None, Some(_)) => Ok(Some(i64::MAX)),
        (None, None) => Err(Refused::Claims("a time in it is no whole number")),
    }
}

#[cfg(test)]
mod tests {
    use transom_settings::json::json;

    use super::*;

    const NOW: i64 = 1_000_000;

    fn rules() -> Rules {
        let strings = |list: &[&str]| list.iter().map(|each| (*each).to_owned()).collect();
        Rules {
            issuers: strings(&["https://id.example"]),
            audiences: strings(&["shop", "store"]),
            required: strings(&["exp"]),
            kinds: strings(&["jwt", "at+jwt"]),
            leeway: 60,
        }
    }

    fn judge(changes: Json, kind: Option<&str>) -> Result<Until, Refused> {
        let mut claims = json!({"iss": "https://id.example", "aud": "shop", "exp": NOW + 100});
        let claims = claims.as_object_mut().unwrap();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Json::Null => drop(claims.remove(name)),
                value => drop(claims.insert(name.clone(), value.clone())),
            }
        }
        rules().judge(claims, kind, NOW)
    }

    #[test]
    fn a_07_times_are_whole_seconds_and_clocks_may_differ_by_the_leeway() {
        let expired = Err(Refused::Claims("it has expired"));
        let unclear = Err(Refused::Claims("a time in it is no whole number"));
        for (exp, expected) in [
            (json!(NOW + 1), Ok(NOW + 61)),
            (json!(NOW - 1), Ok(NOW + 59)),
            (json!(NOW - 59), Ok(NOW + 1)),
            (json!(NOW - 60), expired),
            (json!(NOW - 61), expired),
            (json!(-1), expired),
            (json!(i64::MIN), expired),
            (json!(u64::MAX), Ok(i64::MAX)),
            (json!((NOW + 100).to_string()), unclear),
            (json!(NOW as f64 + 100.5), unclear),
            (json!(1e300), unclear),
            (json!([NOW + 100]), unclear),
            (json!(true), unclear),
            (Json::Null, Err(Refused::Claims("a claim that must be there is missing"))),
        ] {
            assert_eq!(judge(json!({"exp": exp.clone()}), None), expected, "{exp}");
        }
        for (claim, at, expected) in [
            ("nbf", json!(NOW + 60), Ok(NOW + 160)),
            ("nbf", json!(NOW + 61), Err(Refused::Claims("it is not valid yet"))),
            ("nbf", json!("soon"), unclear),
            ("iat", json!(NOW + 60), Ok(NOW + 160)),
            ("iat", json!(NOW + 120), Err(Refused::Claims("it was issued in the future"))),
            ("iat", json!(-5), Ok(NOW + 160)),
        ] {
            assert_eq!(judge(json!({claim: at.clone()}), None), expected, "{claim} {at}");
        }
    }

    #[test]
    fn a_08_issuer_audience_and_type_are_compared_letter_for_letter() {
        let issuer = Err(Refused::Claims("it was issued by somebody else"));
        let audience = Err(Refused::Claims("it is for somebody else"));
        let kind = Err(Refused::Claims("it is a token of another type"));
        for (changes, typ, expected) in [
            (json!({}), None, Ok(NOW + 160)),
            (json!({}), Some("jwt"), Ok(NOW + 160)),
            (json!({}), Some("logout+jwt"), kind),
            (json!({"iss": "https://id.example/"}), None, issuer),
            (json!({"iss": "HTTPS://id.example"}), None, issuer),
            (json!({"iss": null}), None, issuer),
            (json!({"iss": ["https://id.example"]}), None, issuer),
            (json!({"aud": ["other", "store"]}), None, Ok(NOW + 160)),
            (json!({"aud": ["other"]}), None, audience),
            (json!({"aud": []}), None, audience),
            (json!({"aud": "shop-admin"}), None, audience),
            (json!({"aud": "sho"}), None, audience),
            (json!({"aud": {"shop": true}}), None, audience),
            (json!({"aud": null}), None, audience),
        ] {
            assert_eq!(judge(changes.clone(), typ), expected, "{changes} {typ:?}");
        }
    }
}
