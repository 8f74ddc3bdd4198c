//! When a rate-limited endpoint may be asked again: the many ways servers say so.

use std::time::Duration;

use ureq::http::HeaderMap;

use crate::http;

/// What the headers of a 429 or 503 say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pace {
    /// Wait this long: an explicit word of the server.
    pub(super) wait: Option<Duration>,
    /// Everything is refilled after this long; less may do.
    pub(super) refilled: Option<Duration>,
}

impl Pace {
    /// Reads `retry-after-ms`, `Retry-After` and `x-ratelimit-reset-*`.
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let milliseconds = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok()).filter(|ms| ms.is_finite() && *ms >= 0.0);
        let wait = milliseconds.map(|ms| bounded(ms / 1000.0)).or_else(|| http::retry_after(headers));
        let spent = |kind: &str| text(&format!("x-ratelimit-remaining-{kind}")).is_none_or(|left| left == "0" || left.starts_with('-'));
        let refilled = ["requests", "tokens"]
            .iter()
            .filter(|kind| spent(kind))
            .filter_map(|kind| go_duration(text(&format!("x-ratelimit-reset-{kind}"))?))
            .max();
        Self { wait, refilled }
    }

    /// What to tell whoever wants to come back later.
    pub(super) fn hint(&self) -> Option<Duration> {
        self.wait.or(self.refilled)
    }
}

/// `6m0s`, `1.5s`, `12ms` as OpenAI writes them, or whole seconds as Azure does. Zero and negative values say nothing.
fn go_duration(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<f64>() {
        return (seconds.is_finite() && seconds > 0.0).then(|| bounded(seconds));
    }
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        seconds += number
            * match &rest[..unit] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" | "μs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (seconds > 0.0).then(|| bounded(seconds))
}

fn bounded(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.clamp(0.0, 3600.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(headers: &[(&'static str, &str)]) -> Pace {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        Pace::read(&map)
    }

    #[test]
    fn every_way_to_name_a_pause_is_understood() {
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(pace(&[("retry-after-ms", "250"), ("retry-after", "1")]).wait, ms(250));
        assert_eq!(pace(&[("retry-after", "2")]).wait, ms(2_000));
        assert_eq!(pace(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")]).wait, ms(0));
        for (text, refilled) in [
            ("6m0s", ms(360_000)),
            ("1h0m1.5s", ms(3_600_000)),
            ("12ms", ms(12)),
            ("1.5s", ms(1_500)),
            ("17", ms(17_000)),
            ("0", None),
            ("-1", None),
            ("0s", None),
            ("soon", None),
            ("5 parsecs", None),
            ("", None),
        ] {
            assert_eq!(pace(&[("x-ratelimit-reset-tokens", text)]).refilled, refilled, "{text}");
        }
    }

    #[test]
    fn a_reset_of_what_is_not_spent_says_nothing() {
        let of = |left| pace(&[("x-ratelimit-reset-requests", "9s"), ("x-ratelimit-remaining-requests", left)]).refilled;
        assert_eq!(of("0"), Some(Duration::from_secs(9)));
        assert_eq!(of("12"), None);
    }
}
