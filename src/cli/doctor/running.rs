//! What the running daemon says of itself on its admin address.

use std::time::Duration;

use serde_json::Value;

use crate::config::Config;
use crate::deadline::Deadline;
use crate::http;

/// What `/status.json` says, or why nothing is known of a daemon.
pub(super) fn status(config: &Config) -> Result<Value, String> {
    let admin = config.admin().map_err(|invalid| invalid.to_string())?;
    let client = http::Client::new(&http::Settings::default()).map_err(|error| error.to_string())?;
    let url = format!("http://{}/status.json", admin.listen);
    let mut request = http::Request::get(&url);
    if let Some(token) = &admin.token {
        request = request.header("authorization", format!("Bearer {}", token.expose()));
    }
    let answer = client.send(&request, &Deadline::after(Duration::from_secs(3))).map_err(|fault| fault.to_string())?;
    serde_json::from_slice(&answer.body).map_err(|_| format!("{url} answers {}", answer.status))
}

/// A time as people read it.
pub(super) fn moment(seconds: i64) -> String {
    let moment = time::OffsetDateTime::from_unix_timestamp(seconds).ok();
    moment.and_then(|moment| moment.format(&time::format_description::well_known::Rfc3339).ok()).unwrap_or_default()
}
