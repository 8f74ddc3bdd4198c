//! The dashboard and the alert rules ask for figures that the daemon gives, and none that it does not.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use edgelabel::telemetry::{Metrics, Readings};

fn file(name: &str) -> String {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/monitoring").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names of the families that `/metrics` declares, histograms with the names of their series.
fn given() -> BTreeSet<String> {
    let page = Metrics::default().render(&Readings { authority_not_after: Some(0), ..Readings::default() });
    let declared = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(|rest| rest.split_once(' '));
    declared
        .flat_map(|(name, kind)| match kind {
            "histogram" => ["_bucket", "_sum", "_count"].iter().map(|end| format!("{name}{end}")).collect(),
            _ => vec![name.to_owned()],
        })
        .collect()
}

/// Words of a text that look like figures of ours.
fn asked(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = |word: &&str| word.starts_with("edgelabel_") || word.starts_with("process_");
    words.filter(ours).map(str::to_owned).collect()
}

#[test]
fn rules_and_dashboard_ask_for_figures_that_exist() {
    let given = given();
    for name in ["alerts.yml", "dashboard.json"] {
        let asked = asked(&file(name));
        assert!(asked.len() >= 10, "{name} asks for hardly anything: {asked:?}");
        let unknown: Vec<_> = asked.difference(&given).collect();
        assert!(unknown.is_empty(), "{name} asks for {unknown:?}, which /metrics does not give");
    }
}

#[test]
fn the_dashboard_shows_every_figure() {
    let asked = asked(&file("dashboard.json"));
    // Enough is shown without these: the end of the certificate as a date, and what every exporter has.
    let left_out = [
        "edgelabel_certificate_not_after_seconds",
        "edgelabel_ca_not_after_seconds",
        "edgelabel_certificate_broken",
        "edgelabel_connections_total",
        "process_threads",
        "process_open_fds",
    ];
    let histogram = |name: &str| name.starts_with("edgelabel_step_seconds") || name.starts_with("edgelabel_camera_step_seconds");
    let unseen: Vec<_> =
        given().into_iter().filter(|name| !asked.contains(name) && !histogram(name) && !left_out.contains(&name.as_str())).collect();
    assert!(unseen.is_empty(), "the dashboard lacks {unseen:?}");
}

#[test]
fn the_dashboard_is_one_that_grafana_imports() {
    let dashboard: serde_json::Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 36 && dashboard["title"] == "edgelabel");
    let variables: Vec<_> = dashboard["templating"]["list"].as_array().unwrap().iter().map(|variable| &variable["name"]).collect();
    assert_eq!(variables, ["source", "instance"]);
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "panels share an id");
    for panel in panels {
        let place = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24 && place("h") > 0, "{} is beside the grid", panel["title"]);
        assert!(["stat", "timeseries"].contains(&panel["type"].as_str().unwrap()));
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty() && targets.iter().all(|target| target["expr"].as_str().is_some_and(|expr| !expr.is_empty())));
        assert!(targets.iter().all(|target| target["datasource"]["uid"] == "${source}"));
    }
}
