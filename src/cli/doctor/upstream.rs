//! What the box calls: Encord and the models; and the clock, which both depend on.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::Check;
use crate::config::Config;
use crate::deadline::Deadline;
use crate::encord::{self, Encord};
use crate::http;
use crate::ids::ProjectHash;
use crate::model::Models;

/// Encord's signatures carry the time, and webhook signatures are good for five minutes.
const MOST_SECONDS_OFF: i64 = 240;
const NOTICEABLE: i64 = 20;
const SET_THE_CLOCK: &str = "set the clock: timedatectl set-ntp true, and let the box reach a time server";

/// The box's clock beside the one of Encord.
pub(super) fn clock(config: &Config) -> Vec<Check> {
    let domain = &config.file.encord.domain.0;
    let settings = http::Settings { ca_file: config.file.encord.ca_file.owned(), ..Default::default() };
    let asked = http::Client::new(&settings).map_err(|error| error.to_string()).and_then(|client| {
        let mut request = http::Request::get(domain);
        request.timeout = Duration::from_secs(10);
        match client.send(&request, &Deadline::after(Duration::from_secs(12))) {
            Ok(answer) => Ok(answer),
            Err(http::Fault::Tls { dates: true, cause, .. }) => Err(format!("the server's certificate looks out of date ({cause})")),
            Err(fault) => Err(fault.to_string()),
        }
    });
    let now = OffsetDateTime::from(SystemTime::now());
    if now.year() < 2026 {
        return vec![Check::failed("clock", format!("the box thinks it is the year {}", now.year()), SET_THE_CLOCK)];
    }
    vec![match asked {
        Ok(answer) => match answer.header("date").and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok()) {
            Some(theirs) => judged((now - theirs).whole_seconds(), domain),
            None => Check::warning("clock", format!("{domain} does not tell the time, so the clock cannot be compared"), ""),
        },
        Err(error) => Check::warning("clock", format!("cannot be compared with {domain}: {error}"), "see the line about Encord"),
    }]
}

fn judged(off: i64, domain: &str) -> Check {
    let detail = match off {
        0 => format!("agrees with {domain}"),
        off if off > 0 => format!("is {off} s ahead of {domain}"),
        off => format!("is {} s behind {domain}", -off),
    };
    match off.abs() {
        seconds if seconds > MOST_SECONDS_OFF => Check::failed("clock", format!("{detail}, and signatures will be refused"), SET_THE_CLOCK),
        seconds if seconds > NOTICEABLE => Check::warning("clock", detail, SET_THE_CLOCK),
        _ => Check::ok("clock", detail),
    }
}

/// Sign-in, and rights in the projects that are known.
pub(super) fn encord(config: &Config, projects: &[ProjectHash]) -> Vec<Check> {
    let settings = match config.encord() {
        Ok(settings) => settings,
        Err(_) => return vec![Check::failed("Encord", "not tried: there is no usable key", "see the lines about the configuration")],
    };
    let domain = settings.domain.clone();
    let encord = match Encord::new(settings) {
        Ok(encord) => encord,
        Err(error) => {
            return vec![Check::failed(
                "Encord",
                error.to_string(),
                "make a key with `ssh-keygen -t ed25519` and register its public half at Encord",
            )];
        }
    };
    let deadline = Deadline::after(Duration::from_secs(50));
    let judge = |name: String, tried: Result<String, encord::Error>| match tried {
        Ok(detail) => Check::ok(name, detail),
        Err(error) => Check::failed(name, error.to_string(), encord_remedy(&error)),
    };
    let mut checks = vec![judge(format!("Encord {domain}"), encord.check(None, &deadline))];
    for project in projects {
        checks.push(judge(format!("Encord project {project}"), encord.check(Some(project), &deadline)));
    }
    let shelves = config.cameras().into_iter().filter_map(|camera| Some((config.shelf(&camera.name)?, camera.name)));
    for (shelf, camera) in shelves {
        checks.push(judge(format!("Encord folder of camera {camera}"), encord.check_folder(&shelf.folder, &deadline)));
        checks.push(judge(format!("Encord dataset of camera {camera}"), encord.check_dataset(&shelf.dataset, &deadline)));
    }
    checks
}

fn encord_remedy(error: &encord::Error) -> &'static str {
    use encord::Error as E;
    match error {
        E::KeyRefused { .. } => {
            "register the public key at Encord (Settings, Public keys) in this region, or set encord.domain to the other one"
        }
        E::Clock { .. } => SET_THE_CLOCK,
        E::Forbidden { place: encord::Place::Project(_), .. } => "add the key's user to the project as an annotator or more",
        E::Forbidden { .. } => "name the right one in [[camera]], and let the key's user upload to the folder and add to the dataset",
        E::Key { .. } => "make a key with `ssh-keygen -t ed25519` and register its public half at Encord",
        E::Unreachable { .. } | E::Deadline(_) => {
            "let the box reach it: name server, route, firewall, and encord.ca_file if a proxy opens TLS; triggers wait in the journal meanwhile"
        }
        _ => "see the log of the daemon, and ask Encord's support with the time of this check",
    }
}

/// Each model endpoint is shown a picture and asked one question about it.
pub(super) fn models(config: &Config) -> Vec<Check> {
    let settings = match config.models() {
        Ok(settings) => settings,
        Err(invalid) => {
            let missing = |problem: crate::config::Problem| Check::failed("model", problem.to_string(), "");
            return invalid.problems.into_iter().map(missing).collect();
        }
    };
    let endpoints: Vec<_> = settings.iter().map(|one| (one.table.clone(), one.name.clone(), one.timeout)).collect();
    let models = match Models::new(settings) {
        Ok(models) => models,
        Err(error) => return vec![Check::failed("model", error.to_string(), "")],
    };
    let probe = |(table, model, timeout): (String, String, Duration)| {
        let name = if table.is_empty() { format!("model {model}") } else { format!("model {model} [models.{table}]") };
        match models.probe(&table, &Deadline::after(timeout + Duration::from_secs(10))) {
            Ok(detail) if detail.contains("does not seem to see pictures") => {
                Check::warning(name, detail, "choose a model that takes pictures")
            }
            Ok(detail) => Check::ok(name, detail),
            Err(error) => Check::failed(name, error.to_string(), model_remedy(&error)),
        }
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = endpoints.into_iter().map(|endpoint| scope.spawn(|| probe(endpoint))).collect();
        let broke = || Check::failed("model", "the check itself broke off", "please report this");
        running.into_iter().map(|one| one.join().unwrap_or_else(|_| broke())).collect()
    })
}

fn model_remedy(error: &crate::model::Error) -> &'static str {
    use crate::model::Error as E;
    match error {
        E::KeyRefused { .. } => "check the key, and that its account may use this model",
        E::RateLimited { .. } => "wait, or raise the limit at the provider",
        E::CapReached { .. } => "wait until midnight UTC, or raise daily_tokens",
        E::NoQuota { .. } => "add credit to the provider's account",
        E::Refusal { .. } | E::Invalid { .. } => "choose a model that takes pictures and follows instructions",
        E::Endpoint { .. } | E::Deadline(_) => "is base_url right, is the endpoint running, and may the box reach it?",
        E::Unaskable(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn the_clock_is_judged_by_how_far_it_is_off() {
        for (off, status, word) in [
            (0, Status::Ok, "agrees"),
            (-19, Status::Ok, "19 s behind"),
            (60, Status::Warning, "60 s ahead"),
            (-100_000, Status::Failed, "refused"),
        ] {
            let check = judged(off, "https://api.encord.com");
            assert_eq!(check.status, status, "{off}");
            assert!(check.detail.contains(word), "{}", check.detail);
        }
        let date = OffsetDateTime::parse("Tue, 15 Nov 1994 08:12:31 GMT", &Rfc2822).unwrap();
        assert_eq!(date.unix_timestamp(), 784_887_151);
    }
}
