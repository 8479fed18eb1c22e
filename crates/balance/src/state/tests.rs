use super::*;

#[test]
fn what_decides_on_the_use_of_a_member() {
    use Administrative as A;
    use Health as H;
    let now = Instant::now();
    for (administrative, health, ejected, standing, usable) in [
        (A::Ready, H::Unchecked, false, Standing::Unchecked, true),
        (A::Ready, H::Up, false, Standing::Up, true),
        (A::Ready, H::Down, false, Standing::Down, false),
        (A::Ready, H::Up, true, Standing::Ejected, false),
        (A::Ready, H::Down, true, Standing::Ejected, false),
        (A::Drain, H::Up, false, Standing::Drain, false),
        (A::Drain, H::Down, true, Standing::Drain, false),
        (A::Maintenance, H::Up, false, Standing::Maintenance, false),
    ] {
        let state = State::default();
        state.set_administrative(administrative, "by hand");
        state.set_health(health, "probed");
        if ejected {
            state.eject(now + Duration::from_secs(1), "errors");
        }
        assert_eq!(state.standing(now), standing);
        assert_eq!(standing.is_usable(), usable, "{standing:?}");
    }
}

#[test]
fn lb_08_what_a_member_says_of_itself_counts_below_what_an_operator_says() {
    use Administrative as A;
    let now = Instant::now();
    for (operator, own, share, standing, reason) in [
        (A::Ready, Own::Ready, WHOLE, Standing::Up, "probed"),
        (A::Ready, Own::Ready, 0, Standing::Drain, "it says 0%"),
        (A::Ready, Own::Drain, WHOLE, Standing::Drain, "its own word"),
        (A::Ready, Own::Maintenance, WHOLE, Standing::Maintenance, "its own word"),
        (A::Ready, Own::Down, WHOLE, Standing::Down, "its own word"),
        (A::Drain, Own::Maintenance, WHOLE, Standing::Drain, "by hand"),
        (A::Maintenance, Own::Ready, WHOLE, Standing::Maintenance, "by hand"),
    ] {
        let state = State::default();
        state.set_health(Health::Up, "probed");
        state.set_administrative(operator, "by hand");
        state.set_own(own, "its own word");
        state.set_own_share(share);
        assert_eq!(state.standing(now), standing, "{operator:?} {own:?} {share}");
        assert_eq!(state.why(standing).reason, reason, "{operator:?} {own:?} {share}");
    }
}

#[test]
fn only_news_has_a_reason() {
    let state = State::default();
    assert!(state.set_health(Health::Down, "refused"));
    assert!(!state.set_health(Health::Down, "refused again"));
    assert_eq!(state.why(Standing::Down).reason, "refused");
    assert!(!state.set_administrative(Administrative::Ready, "no news"));
    assert!(state.set_share(100) && !state.set_share(100));
}

#[test]
fn an_ejection_ends_by_time_or_by_word() {
    let state = State::default();
    let now = Instant::now();
    state.eject(now + Duration::from_secs(30), "5 in a row");
    assert_eq!(state.standing(now), Standing::Ejected);
    assert_eq!(state.standing(now + Duration::from_secs(31)), Standing::Unchecked);
    assert!(state.readmit() && !state.readmit());
    assert_eq!(state.standing(now), Standing::Unchecked);
}

#[test]
fn a_reported_load_is_believed_for_a_while() {
    let state = State::default();
    let now = Instant::now();
    assert_eq!(state.reported_load(now), None);
    for (load, expected) in [(0.5, 0.5), (f64::NAN, 0.5), (-1.0, 0.5), (1.5, 1.5), (0.0, 0.0)] {
        state.report_load(load, now);
        assert_eq!(state.reported_load(now), Some(expected));
    }
    assert_eq!(state.reported_load(now + LOAD_EXPIRES), None);
}

#[test]
fn a_peak_counts_at_once_and_is_forgotten_by_and_by() {
    let state = State::default();
    let start = Instant::now();
    let ms = Duration::from_millis;
    assert_eq!(state.latency(), None);
    state.measure(ms(10), start);
    state.measure(ms(100), start + ms(1));
    assert_eq!(state.latency(), Some(ms(100)));
    // after 10 s a lower value has taken 1 - 1/e of the way
    state.measure(ms(10), start + ms(10_001));
    let mean = state.latency().unwrap().as_secs_f64() * 1000.0;
    assert!((mean - 43.1).abs() < 0.1, "{mean}");
    for (later, left) in [(0, 43.1), (10_000, 15.86), (20_000, 5.83)] {
        let faded = state.fading_latency(start + ms(10_001 + later)).unwrap();
        assert!((faded.left() / 1e6 - left).abs() < 0.05, "{faded:?}");
        let fresh = Fading { nanos: 1e6, age: 0.0 };
        assert!((faded.beside(fresh) - faded.left()).abs() < 1e-3);
        assert!((fresh.beside(faded) / fresh.nanos - faded.nanos / faded.left()).abs() < 1e-9);
    }
}

#[test]
fn lb_20_who_is_wanted_again_is_not_recalled_however_late_that_is_looked_at() {
    let state = State::default();
    state.set_administrative(Administrative::Drain, "by hand");
    assert!(state.recall() && !state.recall());
    assert!(state.is_recalled());
    state.set_administrative(Administrative::Ready, "by hand");
    assert!(!state.is_recalled() && !state.recall());
    state.set_own_share(0);
    assert!(state.recall());
    state.set_own_share(WHOLE);
    assert!(!state.is_recalled() && !state.recall());
    // one that has been removed is ready, and yet gone
    assert!(state.recall_removed() && state.is_recalled());
}

#[test]
fn lb_26_the_least_of_what_file_and_member_say_is_the_ceiling() {
    const ANY: usize = usize::MAX;
    for (written, own, least) in [(ANY, ANY, ANY), (5, ANY, 5), (ANY, 3, 3), (5, 3, 3), (2, 3, 2)] {
        let state = State::default();
        state.set_ceiling(written);
        assert_eq!(state.set_own_ceiling(own), own != ANY);
        assert_eq!(state.ceiling(), least, "{written} and {own}");
        // a reload says again what the file says, and the member's word still holds
        state.set_ceiling(written);
        assert_eq!(state.ceiling(), least);
        assert!(!state.set_own_ceiling(own), "no news");
        state.set_own_ceiling(ANY);
        assert_eq!(state.ceiling(), written);
    }
}
