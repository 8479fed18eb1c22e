//! What other programs call it: HAProxy, nginx, Envoy, Traefik, Kubernetes. Who writes their word is told
//! ours. The words are those of users and not of this program, so nothing else goes by them.

/// Theirs, and ours: the first that is known at the place where theirs was found.
const WORDS: [(&str, &[&str]); 72] = [
    // parts
    ("frontends", &["listeners"]),
    ("entrypoints", &["listeners"]),
    ("entry-points", &["listeners"]),
    ("bind", &["address"]),
    ("listen", &["address"]),
    ("locations", &["routes"]),
    ("rules", &["routes"]),
    ("middlewares", &["policies"]),
    ("filters", &["policies"]),
    ("plugins", &["policies"]),
    ("clusters", &["pools"]),
    ("upstreams", &["pools", "endpoints"]),
    ("backends", &["pools", "endpoints"]),
    ("services", &["pools"]),
    ("backend", &["forward", "pools"]),
    ("upstream", &["forward", "pools"]),
    ("proxy-pass", &["forward"]),
    ("default-backend", &["forward"]),
    ("use-backend", &["forward"]),
    // endpoints
    ("server", &["endpoints", "listeners"]),
    ("servers", &["endpoints", "listeners"]),
    ("targets", &["endpoints"]),
    ("hosts", &["endpoints"]),
    ("nodes", &["endpoints"]),
    ("members", &["endpoints"]),
    ("url", &["address"]),
    ("tags", &["labels"]),
    ("metadata", &["labels"]),
    // how one is chosen
    ("balance", &["algorithm"]),
    ("balancer", &["algorithm"]),
    ("lb-policy", &["algorithm"]),
    ("load-balancing", &["algorithm"]),
    ("rr", &["round-robin"]),
    ("wrr", &["round-robin"]),
    ("weighted-round-robin", &["round-robin"]),
    ("leastconn", &["least-requests"]),
    ("least-conn", &["least-requests"]),
    ("least-connections", &["least-requests"]),
    ("p2c", &["two-choices"]),
    ("power-of-two-choices", &["two-choices"]),
    ("ewma", &["peak-ewma"]),
    ("ip-hash", &["source"]),
    ("source-ip", &["source"]),
    ("hash", &["ring"]),
    ("ring-hash", &["ring"]),
    ("ketama", &["ring"]),
    ("consistent-hash", &["ring"]),
    ("first", &["first-available"]),
    ("sticky", &["affinity"]),
    ("stickiness", &["affinity"]),
    ("session-affinity", &["affinity"]),
    ("persistence", &["affinity"]),
    // whether it is well
    ("health-check", &["health"]),
    ("health-checks", &["health"]),
    ("healthcheck", &["health"]),
    ("inter", &["every"]),
    ("interval", &["every"]),
    ("fastinter", &["fast-every"]),
    ("downinter", &["down-every"]),
    ("healthy-threshold", &["rise"]),
    ("unhealthy-threshold", &["fall"]),
    ("outlier-detection", &["outliers"]),
    ("passive-health", &["outliers"]),
    ("consecutive-5xx", &["errors"]),
    ("consecutive-gateway-failure", &["gateway-errors"]),
    ("consecutive-local-origin-failure", &["connect-failures"]),
    ("base-ejection-time", &["ejection"]),
    ("max-ejection-percent", &["max-ejected"]),
    // what it is not asked for
    ("circuit-breaker", &["breaker"]),
    ("maxconn", &["per-member"]),
    ("max-connections", &["connections"]),
    ("send-proxy", &["proxy-protocol"]),
];

/// Theirs, a key that is known where it is meant, and what does the same here.
const ADVICE: [(&str, &str, &str); 14] = [
    ("backup", "labels", "`priority: 1` is used when too few of `priority: 0` are usable"),
    ("check", "labels", HEALTH),
    ("inter", "labels", HEALTH),
    ("rise", "labels", HEALTH),
    ("fall", "labels", HEALTH),
    ("max-fails", "labels", HEALTH),
    ("fail-timeout", "labels", HEALTH),
    ("maxconn", "labels", CEILING),
    ("max-conns", "labels", CEILING),
    ("slowstart", "labels", "`slow-start` of the pool holds for each of its endpoints"),
    ("slow-start", "labels", "`slow-start` of the pool holds for each of its endpoints"),
    ("disabled", "labels", DISABLED),
    ("down", "labels", DISABLED),
    ("retries", "algorithm", "a forward has them: `forward: { to: POOL, retries: 2 }`"),
];

const HEALTH: &str = "`health` and `outliers` of the pool judge each of its endpoints";
const CEILING: &str = "`limits: { per-member: 100 }` of the pool holds for each of its endpoints";
const DISABLED: &str =
    "`weight: 0` gives it nothing, and so does `transom pool maintenance` while it runs";

/// The known word that others call so.
pub(crate) fn meant<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = fold(word);
    let (_, ours) = WORDS.iter().find(|(theirs, _)| *theirs == word)?;
    ours.iter().find_map(|ours| known.iter().find(|known| *known == ours).copied())
}

/// What does the same as a key of others that there is not here.
pub(crate) fn advice(word: &str, known: &[String]) -> Option<&'static str> {
    let word = fold(word);
    let here = |place: &str| known.iter().any(|known| known == place);
    ADVICE.iter().find(|(theirs, place, _)| *theirs == word && here(place)).map(|(.., say)| *say)
}

fn fold(word: &str) -> String {
    word.to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_others_are_known_where_ours_is() {
        let pool = ["endpoints", "algorithm", "health", "affinity", "outliers", "breaker"];
        let algorithms = ["least-requests", "round-robin", "source", "ring"];
        let top = ["listeners", "pools", "policies"];
        for (word, known, expected) in [
            ("servers", &pool[..], Some("endpoints")),
            ("servers", &top, Some("listeners")),
            ("backends", &top, Some("pools")),
            ("backends", &pool, Some("endpoints")),
            ("health_check", &pool, Some("health")),
            ("lb_policy", &pool, Some("algorithm")),
            ("least_conn", &algorithms, Some("least-requests")),
            ("ip_hash", &algorithms, Some("source")),
            ("RING_HASH", &algorithms, Some("ring")),
            ("servers", &algorithms, None),
            ("nonsense", &pool, None),
            ("", &pool, None),
        ] {
            assert_eq!(meant(word, known), expected, "{word}");
        }
    }

    #[test]
    fn what_has_no_word_here_is_told_by_what_does_the_same() {
        let endpoint = ["address", "weight", "labels"].map(str::to_owned);
        let pool = ["endpoints", "algorithm"].map(str::to_owned);
        assert!(advice("backup", &endpoint).unwrap().contains("priority: 1"));
        assert!(advice("max_fails", &endpoint).unwrap().contains("outliers"));
        assert_eq!(advice("backup", &pool), None);
        assert!(advice("retries", &pool).unwrap().contains("forward"));
    }
}
