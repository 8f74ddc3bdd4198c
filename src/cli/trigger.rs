//! `edgelabel trigger`: what the label editor's button sends, from a terminal.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};
use url::Url;

use super::progress::Progress;
use super::{ConfigArgument, WrongUsage, print};
use crate::config::Config;
use crate::deadline::Deadline;
use crate::http::{self, Fault};
use crate::ids::{DataHash, ProjectHash};

/// A save may take as long as the daemon's own budget; this is only the end of all patience.
const PATIENCE: Duration = Duration::from_secs(180);

/// Sends the webhook request that the label editor would send, and shows the answer
///
/// The item is named by the address of a label editor page, as copied from the browser, or by its hashes. The request
/// carries an Origin header as the browser's does. An access token is taken from the configuration, if it can be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  edgelabel trigger 'https://app.encord.com/label_editor/PROJECT/DATA/120'
  edgelabel trigger --project PROJECT --data DATA --frame 120 --url https://box.local:8443 --ca ca.pem
  edgelabel trigger --project PROJECT --data DATA --test

Exit codes: 0 answered with 200 or 202, 1 any other answer or none, 2 wrong usage.")]
pub(super) struct Arguments {
    /// Address of the item in the label editor: https://app.encord.com/label_editor/PROJECT/DATA[/FRAME][?objectHash=HASH]
    #[arg(value_name = "LABEL EDITOR URL", required_unless_present_all = ["project", "data"], conflicts_with_all = ["project", "data", "frame"])]
    editor: Option<String>,
    /// Project hash
    #[arg(long, requires = "data")]
    project: Option<ProjectHash>,
    /// Data hash
    #[arg(long, requires = "project")]
    data: Option<DataHash>,
    /// Frame in presentation order, counted from 0 [default: 0]
    #[arg(long)]
    frame: Option<u64>,
    /// A selected object; may be given several times
    #[arg(long = "object", value_name = "HASH")]
    objects: Vec<String>,
    /// Path of the agent
    #[arg(long, default_value = "/", value_name = "PATH")]
    agent: String,
    /// Where the daemon listens [default: https://localhost and the port of server.listen]
    #[arg(long)]
    url: Option<Url>,
    /// PEM file with the authority of the daemon's certificate [default: ca.pem beside the configured certificate]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Send the label editor's test request: nothing is labelled
    #[arg(long)]
    test: bool,
    /// Print {"status","message","milliseconds"} on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgument,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let config = match Config::load(arguments.config.config.as_deref(), &super::environment()) {
        Ok(config) => Some(config),
        Err(invalid) if arguments.config.config.is_some() => return Err(invalid.into()),
        // A trigger may come from another machine, which has no configuration.
        Err(_) => None,
    };
    let item = match (&arguments.editor, &arguments.project, &arguments.data) {
        (Some(editor), ..) => Item::of_editor(editor)?,
        (None, Some(project), Some(data)) => Item {
            project: project.clone(),
            data: data.clone(),
            frame: arguments.frame.unwrap_or(0),
            objects: Vec::new(),
            origin: config.as_ref().and_then(|config| config.file.server.allowed_origins.first()).map(|origin| origin.0.clone()),
        },
        _ => return Err(WrongUsage("name the item by its label editor URL, or by --project and --data".into()).into()),
    };
    send(arguments, &item, config.as_ref())
}

/// What the button is pressed on.
#[derive(Debug, PartialEq)]
struct Item {
    project: ProjectHash,
    data: DataHash,
    frame: u64,
    objects: Vec<String>,
    /// The page's origin, if it is known.
    origin: Option<String>,
}

impl Item {
    fn of_editor(text: &str) -> anyhow::Result<Self> {
        let form = "a label editor address is https://app.encord.com/label_editor/PROJECT/DATA[/FRAME]";
        let url = Url::parse(text).map_err(|_| WrongUsage(format!("{text:?} is not an address; {form}")))?;
        let mut parts =
            url.path_segments().into_iter().flatten().skip_while(|part| *part != "label_editor").skip(1).filter(|part| !part.is_empty());
        let (Some(project), Some(data)) = (parts.next(), parts.next()) else {
            return Err(WrongUsage(format!("{text:?} names no project and data item; {form}")).into());
        };
        let frame = match parts.next() {
            Some(number) => number.parse().with_context(|| format!("{number:?} is not a frame; {form}"))?,
            None => 0,
        };
        let objects = url
            .query_pairs()
            .filter(|(key, _)| key == "objectHash")
            .flat_map(|(_, value)| value.split(',').map(str::to_owned).collect::<Vec<_>>())
            .filter(|hash| !hash.is_empty())
            .collect();
        Ok(Self {
            project: project.parse().context("the project in the address")?,
            data: data.parse().context("the data item in the address")?,
            frame,
            objects,
            origin: Some(url.origin().ascii_serialization()),
        })
    }
}

fn send(arguments: &Arguments, item: &Item, config: Option<&Config>) -> anyhow::Result<ExitCode> {
    let mut body = json!({ "projectHash": item.project, "dataHash": item.data, "frame": item.frame });
    let objects: Vec<&String> = item.objects.iter().chain(&arguments.objects).collect();
    if !objects.is_empty() {
        body["objectHashes"] = json!(objects);
    }
    let body = serde_json::to_vec(&body)?;
    let token = config.and_then(|config| config.access_token().ok().flatten());
    let base = base_url(arguments, config)?;
    let mut url = base.as_str().trim_end_matches('/').to_owned();
    if let Some(token) = &token {
        url = format!("{url}/{}", token.expose());
    }
    url = format!("{url}/{}", arguments.agent.trim_start_matches('/'));

    let beside =
        || config?.file.server.tls.certificate.get()?.parent().map(|directory| directory.join("ca.pem")).filter(|path| path.exists());
    let ca_file = arguments.ca.clone().or_else(beside);
    let client = http::Client::new(&http::Settings { ca_file: ca_file.clone(), ..Default::default() })?;
    let mut request = http::Request::post(&url, &body)
        .header("content-type", "application/json")
        .header("origin", item.origin.as_deref().unwrap_or("https://app.encord.com"));
    request.timeout = PATIENCE;
    if arguments.test {
        request = request.header("x-encord-editor-agent", "edgelabel trigger");
    }

    let begin = Instant::now();
    let progress = Progress::new("waiting for the answer");
    let answer = client.send(&request, &Deadline::after(PATIENCE));
    drop(progress);
    let answer = answer.map_err(|fault| {
        let remedy = remedy(&fault, ca_file.is_some());
        anyhow::Error::new(fault).context(format!("no answer from {base}{remedy}"))
    })?;
    report(arguments, &answer, begin.elapsed())
}

/// The daemon of this box answers on the port it is configured with.
fn base_url(arguments: &Arguments, config: Option<&Config>) -> anyhow::Result<Url> {
    if let Some(url) = &arguments.url {
        return Ok(url.clone());
    }
    let port = config.and_then(|config| config.file.server.listen.first()).map_or(8443, |address| address.0.port());
    Ok(Url::parse(&format!("https://localhost:{port}"))?)
}

fn remedy(fault: &Fault, has_ca: bool) -> &'static str {
    match fault {
        Fault::Connect { .. } | Fault::NoSuchHost { .. } => " (is the daemon running, and is --url right?)",
        Fault::Tls { dates: true, .. } => " (is the clock right, and the certificate still valid?)",
        Fault::Tls { .. } if !has_ca => " (name the authority of its certificate with --ca FILE)",
        Fault::Tls { .. } => " (--url must use a name of its certificate, and --ca must be the authority that made it)",
        _ => "",
    }
}

fn report(arguments: &Arguments, answer: &http::Answer, took: Duration) -> anyhow::Result<ExitCode> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or(Value::Null);
    let message = body.get("message").and_then(Value::as_str);
    let milliseconds = took.as_secs_f64() * 1000.0;
    let text = if arguments.json {
        format!("{}\n", json!({ "status": answer.status, "message": message, "milliseconds": (milliseconds * 10.0).round() / 10.0 }))
    } else {
        let meaning = match answer.status {
            200 if arguments.test => "the test request is answered",
            200 => "saved",
            202 => "answered; it will be saved later",
            404 => "no such agent or item",
            _ => "failed",
        };
        let message = message.map_or(String::new(), |message| format!("\n{message}"));
        format!("{} {meaning}, after {:.2} s{message}\n", answer.status, took.as_secs_f64())
    };
    print(&text)?;
    Ok(ExitCode::from(if matches!(answer.status, 200 | 202) { 0 } else { 1 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: &str = "027e0c65-c53f-426d-9f02-04fafe8bd80e";
    const DATA: &str = "038ed92d-dbe8-4991-a3aa-6ede35d6e62d";

    #[test]
    fn a_label_editor_address_names_project_data_frame_and_objects() {
        let item = Item::of_editor(&format!("https://app.us.encord.com/label_editor/{PROJECT}/{DATA}/120?objectHash=a%2Bb&x=1")).unwrap();
        let expected = Item {
            project: PROJECT.parse().unwrap(),
            data: DATA.parse().unwrap(),
            frame: 120,
            objects: vec!["a+b".into()],
            origin: Some("https://app.us.encord.com".into()),
        };
        assert_eq!(item, expected);
        assert_eq!(Item::of_editor(&format!("https://app.encord.com/label_editor/{PROJECT}/{DATA}")).unwrap().frame, 0);
        assert_eq!(Item::of_editor(&format!("https://app.encord.com/label_editor/{PROJECT}/{DATA}/?a=b")).unwrap().frame, 0);
    }

    #[test]
    fn other_addresses_are_refused_with_the_right_form() {
        for wrong in [
            "hello",
            "https://app.encord.com/projects/1",
            &format!("https://app.encord.com/label_editor/{PROJECT}"),
            &format!("https://app.encord.com/label_editor/{PROJECT}/{DATA}/x"),
        ] {
            let error = format!("{:#}", Item::of_editor(wrong).unwrap_err());
            assert!(error.contains("label_editor/PROJECT/DATA"), "{error}");
        }
        let error = format!("{:#}", Item::of_editor(&format!("https://app.encord.com/label_editor/nope/{DATA}")).unwrap_err());
        assert!(error.contains("project"), "{error}");
    }
}
