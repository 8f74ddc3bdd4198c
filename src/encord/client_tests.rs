//! The client against a server of its own: request economy, retries, errors wherever they stand.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::deadline::Deadline;
use crate::ids::{DataHash, LabelHash, ProjectHash};
use crate::media::DataType;

use super::requests::{Kind, Outcome};
use super::stub::{Received, Reply, Stub, code, ok, plain, soon, status};
use super::{Error, RowKind};

const PROJECT: &str = "027e0c65-c53f-426d-9f02-04fafe8bd80e";
const DATA: &str = "038ed92d-dbe8-4991-a3aa-6ede35d6e62d";

fn project() -> ProjectHash {
    PROJECT.parse().unwrap()
}

fn data() -> DataHash {
    DATA.parse().unwrap()
}

fn editor() -> Value {
    json!({"objects": [], "classifications": [{"id": "1", "featureNodeHash": "c1", "attributes": [
        {"id": "1.1", "name": "Scene description", "type": "text", "featureNodeHash": "a1", "required": true}]}]})
}

fn listing(label_hash: Value) -> Value {
    json!({"label_hash": label_hash, "branch_name": "main", "data_hash": DATA, "data_title": "clip.mp4", "data_type": "VIDEO",
        "is_shadow_data": false, "annotation_task_status": "ASSIGNED", "number_of_frames": "None", "spaces": {}, "label_status": "LABELLED",
        "backing_item_uuid": "11111111-2222-3333-4444-555555555555"})
}

fn row(label_hash: &str, link: &str) -> Value {
    json!({"label_hash": label_hash, "branch_name": "main", "created_at": "2023-02-09 14:12:03", "last_edited_at": "2023-02-09 14:12:03",
        "dataset_hash": "d", "dataset_title": "set", "data_title": "clip.mp4", "data_hash": DATA, "data_type": "video",
        "data_units": {DATA: {"data_hash": DATA, "data_title": "clip.mp4", "data_link": link, "data_type": "video/mp4",
            "data_sequence": 0, "labels": {}, "data_fps": 25.0, "data_duration": 4.0, "width": 640, "height": 480}},
        "object_answers": {}, "classification_answers": {}, "object_actions": {}, "label_status": "LABELLED", "is_valid": true, "spaces": {}})
}

/// Encord as it is on a good day.
fn usual(request: &Received) -> Reply {
    match request.what().as_str() {
        "projects" => plain(json!({"projectHash": PROJECT, "title": "Roads", "ontologyHash": "onto", "editorOntology": editor()})),
        "ontologies" => plain(json!({"ontologyUuid": "onto", "title": "Roads", "editor": editor()})),
        "list" => ok(json!([listing(json!("label-1"))])),
        "open" => ok(json!([row("label-1", "http://127.0.0.1:1/clip.mp4?sig=secret")])),
        "read" => ok(json!([row("label-1", "store/clip.mp4")])),
        "save" => ok(json!(true)),
        "create" => ok(json!([row("label-new", "http://127.0.0.1:1/clip.mp4?sig=secret")])),
        _ => status(404, ""),
    }
}

/// As usual, but the first `times` requests of one kind get another reply.
fn failing(what: &'static str, times: usize, reply: impl Fn() -> Reply + Send + Sync + 'static) -> Stub {
    let failed = AtomicUsize::new(0);
    Stub::start(move |request| if request.what() == what && failed.fetch_add(1, SeqCst) < times { reply() } else { usual(request) })
}

fn trigger(encord: &super::Encord) {
    encord.ontology(&project(), &soon()).unwrap();
    let found = encord.find_row(&project(), &data(), &soon()).unwrap();
    let opened = encord.open_row(&project(), &found, &soon()).unwrap();
    encord.link(&project(), &opened, 7, &soon()).unwrap();
    let fresh = encord.read_row(&project(), opened.label_hash(), &soon()).unwrap();
    encord.save_row(&project(), &fresh, &soon()).unwrap();
}

#[test]
fn a_first_trigger_takes_five_requests_and_a_second_three_on_one_connection() {
    let stub = Stub::start(usual);
    let encord = stub.encord();
    trigger(&encord);
    assert_eq!(stub.asked(), ["projects", "list", "open", "read", "save"]);
    trigger(&encord);
    assert_eq!(stub.asked()[5..], ["open", "read", "save"]);
    assert_eq!(stub.connections(), 1);
    assert_eq!(encord.requests().total(), 8);
    assert_eq!(encord.requests().of(Kind::Save, Outcome::Ok), 2);
}

#[test]
fn the_ontology_is_asked_for_when_the_project_brings_none_and_once_by_many() {
    let stub = Stub::start(|request| match request.what().as_str() {
        "projects" => plain(json!({"title": "Roads", "ontologyHash": "on/to", "editorOntology": {"objects": []}})),
        _ => usual(request),
    });
    let encord = stub.encord();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| assert_eq!(encord.ontology(&project(), &soon()).unwrap().classifications.len(), 1));
        }
    });
    assert_eq!(stub.asked(), ["projects", "ontologies"]);
    assert_eq!(stub.received()[1].target, "/v2/public/ontologies/on%2Fto");
}

#[test]
fn a_fresh_ontology_is_asked_for_past_the_cache_and_believed_afterwards() {
    let stub = Stub::start(|request| match request.what().as_str() {
        "ontologies" => plain(json!({"editor": {"objects": [], "classifications": []}})),
        _ => usual(request),
    });
    let encord = stub.encord();
    assert!(!encord.ontology(&project(), &soon()).unwrap().is_empty());
    assert!(encord.fresh_ontology(&project(), &soon()).unwrap().is_empty());
    assert!(encord.ontology(&project(), &soon()).unwrap().is_empty());
    assert_eq!(stub.asked(), ["projects", "ontologies"]);
}

#[test]
fn every_transient_failure_is_tried_again() {
    for (what, reply) in [
        ("projects", (|| status(503, "<html>busy</html>")) as fn() -> Reply),
        ("list", || status(429, r#"{"message": "slow down"}"#)),
        ("open", || status(502, "<html>bad gateway</html>")),
        ("read", || status(504, "")),
        ("save", || status(500, "")),
        ("save", || Reply::Answer(200, vec![("retry-after", "0".into())], r#"{"status":500,"response":["UNKNOWN_ERROR"]}"#.into())),
        ("save", || Reply::Reset),
    ] {
        let stub = failing(what, 1, reply);
        trigger(&stub.encord());
        assert_eq!(stub.asked().iter().filter(|asked| *asked == what).count(), 2, "{what}");
        assert_eq!(stub.asked().len(), 6, "{what}");
    }
}

#[test]
fn after_four_tries_encord_counts_as_unreachable() {
    let stub = failing("projects", 99, || status(503, "<html>secret page</html>"));
    let encord = stub.encord();
    let error = encord.project(&project(), &soon()).unwrap_err();
    assert_eq!(error.to_string(), "Encord could not be reached to read the project: it answered 503");
    assert!(matches!(error, Error::Unreachable { .. }));
    assert_eq!(stub.asked().len(), 4);
    assert_eq!(encord.requests().of(Kind::Project, Outcome::Busy), 4);
}

#[test]
fn a_row_that_was_never_opened_is_created_and_remembered() {
    let stub = Stub::start(|request| if request.what() == "list" { ok(json!([listing(Value::Null)])) } else { usual(request) });
    let encord = stub.encord();
    let found = encord.find_row(&project(), &data(), &soon()).unwrap();
    assert_eq!(found.label_hash, None);
    assert_eq!(encord.open_row(&project(), &found, &soon()).unwrap().label_hash().as_str(), "label-new");
    let again = encord.find_row(&project(), &data(), &soon()).unwrap();
    assert_eq!(again.label_hash, Some(LabelHash::new("label-new")));
    assert_eq!(stub.asked(), ["list", "create"]);
    assert_eq!(
        stub.received()[1].json()["values"]["payload"],
        json!({"multi_request": true, "get_signed_url": true, "branch_name": "main"})
    );
    assert_eq!(stub.received()[1].json()["values"]["uid"], json!([DATA]));
}

#[test]
fn a_create_that_fails_is_not_repeated_but_looked_for_in_the_list() {
    for reply in [(|| status(503, "")) as fn() -> Reply, || Reply::Reset, || code(400, "RESOURCE_EXISTS_ERROR")] {
        let created = AtomicUsize::new(0);
        let stub = Stub::start(move |request| match request.what().as_str() {
            "list" if created.load(SeqCst) == 0 => ok(json!([listing(Value::Null)])),
            "create" => {
                created.fetch_add(1, SeqCst);
                reply()
            }
            _ => usual(request),
        });
        let encord = stub.encord();
        let found = encord.find_row(&project(), &data(), &soon()).unwrap();
        assert_eq!(encord.open_row(&project(), &found, &soon()).unwrap().label_hash().as_str(), "label-1");
        assert_eq!(stub.asked(), ["list", "create", "list", "open"]);
    }
    let stub = Stub::start(|request| match request.what().as_str() {
        "list" => ok(json!([listing(Value::Null)])),
        "create" => status(503, ""),
        _ => usual(request),
    });
    let encord = stub.encord();
    let found = encord.find_row(&project(), &data(), &soon()).unwrap();
    assert!(matches!(encord.open_row(&project(), &found, &soon()), Err(Error::Unreachable { .. })));
    assert_eq!(stub.asked(), ["list", "create", "list"]);
}

#[test]
fn two_triggers_on_a_new_row_create_it_once() {
    let stub = Stub::start(|request| match request.what().as_str() {
        "list" => ok(json!([listing(Value::Null)])),
        "create" => {
            std::thread::sleep(Duration::from_millis(30));
            usual(request)
        }
        "open" => ok(json!([row("label-new", "http://127.0.0.1:1/clip.mp4")])),
        _ => usual(request),
    });
    let encord = stub.encord();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let found = encord.find_row(&project(), &data(), &soon()).unwrap();
                assert_eq!(encord.open_row(&project(), &found, &soon()).unwrap().label_hash().as_str(), "label-new");
            });
        }
    });
    assert_eq!(stub.asked().iter().filter(|asked| *asked == "create").count(), 1);
}

#[test]
fn a_remembered_row_that_is_gone_is_listed_again() {
    let lists = AtomicUsize::new(0);
    let stub = Stub::start(move |request| match request.what().as_str() {
        "list" => ok(json!([listing(json!(if lists.fetch_add(1, SeqCst) == 0 { "label-old" } else { "label-1" }))])),
        "open" if request.json()["values"]["uid"] == json!(["label-old"]) => code(404, "RESOURCE_NOT_FOUND_ERROR"),
        _ => usual(request),
    });
    let encord = stub.encord();
    let found = encord.find_row(&project(), &data(), &soon()).unwrap();
    assert_eq!(encord.open_row(&project(), &found, &soon()).unwrap().label_hash().as_str(), "label-1");
    assert_eq!(stub.asked(), ["list", "open", "list", "open"]);
}

#[test]
fn rows_that_cannot_serve_are_named() {
    let of = |rows: Value| {
        let stub = Stub::start(move |request| if request.what() == "list" { ok(rows.clone()) } else { usual(request) });
        stub.encord().find_row(&project(), &data(), &soon()).unwrap_err().to_string()
    };
    assert!(of(json!([])).contains("is not in project"));
    assert!(of(Value::Null).contains("is not in project"));
    assert!(of(json!([listing(json!("a")), listing(json!("b"))])).contains("has 2 label rows"));
    let changed = |key: &str, value: Value| {
        let mut row = listing(json!("a"));
        row[key] = value;
        json!([row])
    };
    assert!(of(changed("data_type", json!("AUDIO"))).contains("data type audio is not supported"));
    assert!(of(changed("spaces", json!({"s": {}}))).contains("spaces"));
    assert!(of(changed("data_hash", json!(PROJECT))).contains("is not in project"));
    assert!(of(json!({"html": 1})).contains("is not understood"));
}

#[test]
fn refusals_are_told_apart() {
    let of = |reply: fn() -> Reply| {
        let stub = failing("list", 99, reply);
        let error = stub.encord().find_row(&project(), &data(), &soon()).unwrap_err();
        assert_eq!(stub.asked().len(), 1, "a refusal is not tried again");
        error
    };
    assert!(matches!(of(|| code(401, "AUTHENTICATION_ERROR")), Error::KeyRefused { .. }));
    assert!(matches!(of(|| code(400, "SSH_KEY_NOT_FOUND_ERROR")), Error::KeyRefused { .. }));
    assert!(matches!(of(|| status(401, "<html>")), Error::KeyRefused { .. }));
    assert!(matches!(of(|| code(403, "AUTHORISATION_ERROR")), Error::Forbidden { .. }));
    assert!(matches!(of(|| status(403, "")), Error::Forbidden { .. }));
    assert!(matches!(of(|| code(400, "OPERATION_NOT_ALLOWED")), Error::Refused { status: 400, .. }));
    assert!(matches!(of(|| code(400, "NEVER_HEARD_OF")), Error::Refused { .. }));
    assert!(matches!(of(|| Reply::Answer(200, vec![], "<html>hello</html>".into())), Error::Malformed { .. }));
    assert!(matches!(of(|| Reply::Answer(302, vec![("location", "http://127.0.0.1:9/".into())], String::new())), Error::Refused { .. }));
    let late = || Reply::Answer(401, vec![("date", "Thu, 09 Feb 2023 14:12:03 GMT".into())], String::new());
    assert!(matches!(of(late), Error::Clock { seconds } if seconds > 60));
}

#[test]
fn a_silent_encord_costs_the_budget_and_no_more() {
    let stub = failing("projects", 99, || Reply::Silence(Duration::from_secs(5)));
    let start = Instant::now();
    let error = stub.encord().project(&project(), &Deadline::after(Duration::from_millis(300))).unwrap_err();
    assert!(matches!(error, Error::Deadline(_)), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn an_encord_that_is_not_there_is_unreachable() {
    let stub = Stub::start(usual);
    let mut settings = super::Settings {
        domain: "http://127.0.0.1:9".into(),
        ssh_key: crate::ids::Secret::new(super::stub::KEY),
        ssh_key_origin: "test".into(),
        ssh_key_password: None,
        ca_file: None,
        ontology_ttl: Duration::ZERO,
        timeout: Duration::from_secs(15),
    };
    let error =
        super::Encord::new(settings.clone()).unwrap().project(&project(), &Deadline::after(Duration::from_millis(400))).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(stub.asked().is_empty());
    settings.ssh_key = crate::ids::Secret::new("-----BEGIN RSA PRIVATE KEY-----");
    assert!(matches!(super::Encord::new(settings), Err(Error::Key { .. })));
}

#[test]
fn what_is_saved_has_no_links_no_read_only_fields_and_what_the_list_knows() {
    let stub = Stub::start(usual);
    let encord = stub.encord();
    let found = encord.find_row(&project(), &data(), &soon()).unwrap();
    let opened = encord.open_row(&project(), &found, &soon()).unwrap();
    assert_eq!(opened.kind(), RowKind::Video);
    assert!(matches!(encord.save_row(&project(), &opened, &soon()), Err(Error::Malformed { .. })));
    let fresh = encord.read_row(&project(), opened.label_hash(), &soon()).unwrap();
    encord.save_row(&project(), &fresh, &soon()).unwrap();
    let saved = stub.received().pop().unwrap();
    assert_eq!(saved.header("resourcetype"), "project");
    assert_eq!(saved.header("resourceid"), PROJECT);
    let body = saved.json();
    assert_eq!(body["values"]["uid"], json!(["label-1"]));
    let label = &body["values"]["payload"]["labels"][0];
    assert_eq!(label["is_valid"], Value::Null);
    assert_eq!(label["is_shadow_data"], false);
    assert_eq!(label["annotation_task_status"], "ASSIGNED");
    assert_eq!(label["created_at"], "Thu, 09 Feb 2023 14:12:03 UTC");
    assert_eq!(label["data_units"][DATA]["data_link"], "store/clip.mp4");
    assert!(!String::from_utf8(saved.body).unwrap().contains("secret"));
}

#[test]
fn a_row_that_is_gone_at_the_save_is_forgotten() {
    let stub = failing("save", 1, || ok(Value::Null));
    let encord = stub.encord();
    let found = encord.find_row(&project(), &data(), &soon()).unwrap();
    let fresh = encord.read_row(&project(), found.label_hash.as_ref().unwrap(), &soon()).unwrap();
    assert!(matches!(encord.save_row(&project(), &fresh, &soon()), Err(Error::Refused { status: 404, .. })));
    encord.find_row(&project(), &data(), &soon()).unwrap();
    assert_eq!(stub.asked(), ["list", "read", "save", "list"]);
}

#[test]
fn a_link_is_taken_from_the_row_then_asked_for_then_looked_for_in_storage() {
    let stub = Stub::start(|request| match request.what().as_str() {
        "media" => ok(json!({"data_hash": DATA, "video": {"file_link": "https://store/asked.mp4?sig=1"}, "images": null})),
        _ => usual(request),
    });
    let encord = stub.encord();
    let found = encord.find_row(&project(), &data(), &soon()).unwrap();
    let opened = encord.open_row(&project(), &found, &soon()).unwrap();
    let link = encord.link(&project(), &opened, 3, &soon()).unwrap();
    assert_eq!(link.url.identity(), "http://127.0.0.1:1/clip.mp4");
    assert_eq!((link.data_type, link.mime.as_deref(), link.title.as_str()), (DataType::Video, Some("video/mp4"), "clip.mp4"));
    assert_eq!(encord.renewed_link(&project(), &opened, 3, &soon()).unwrap().url.identity(), "https://store/asked.mp4");

    let stub = Stub::start(|request| match request.what().as_str() {
        "open" => ok(json!([row("label-1", "cord-storage/clip.mp4")])),
        "media" => ok(json!({"data_hash": DATA, "video": null, "images": null})),
        "storage" => plain(json!({"uuid": "1", "parent": null, "signedUrl": "https://store/item.mp4?sig=2"})),
        _ => usual(request),
    });
    let encord = stub.encord();
    let found = encord.find_row(&project(), &data(), &soon()).unwrap();
    let opened = encord.open_row(&project(), &found, &soon()).unwrap();
    assert_eq!(encord.link(&project(), &opened, 3, &soon()).unwrap().url.identity(), "https://store/item.mp4");
    assert_eq!(stub.asked(), ["list", "open", "media", "storage"]);
    assert_eq!(stub.received()[3].target, "/v2/public/storage/items/11111111-2222-3333-4444-555555555555?signUrl=true");
}

fn group_row(links: [&str; 3]) -> Value {
    let mut group = row("label-1", "");
    group["data_type"] = json!("img_group");
    let unit = |sequence: usize, hash: &str| {
        json!({"data_hash": hash, "data_title": format!("{hash}.png"), "data_link": links[sequence],
        "data_type": "image/png", "data_sequence": sequence.to_string(), "labels": {}})
    };
    group["data_units"] = json!({"h2": unit(2, "h2"), "h0": unit(0, "h0"), "h1": unit(1, "h1")});
    group
}

#[test]
fn an_image_of_a_group_is_found_by_its_sequence_number_or_hash() {
    let stub = Stub::start(|request| match request.what().as_str() {
        "open" => ok(json!([group_row(["https://store/zero.png", "https://store/one.png", "storage/path"])])),
        "media" => ok(json!({"data_hash": DATA, "video": null, "images": [
            {"image_hash": "h2", "file_link": "https://store/two.png"}, {"image_hash": "h0", "file_link": "https://store/x.png"}]})),
        _ => usual(request),
    });
    let encord = stub.encord();
    let found = encord.find_row(&project(), &data(), &soon()).unwrap();
    let opened = encord.open_row(&project(), &found, &soon()).unwrap();
    assert_eq!(opened.kind(), RowKind::ImageGroup(3));
    let link = |frame| encord.link(&project(), &opened, frame, &soon()).map(|link| link.url.identity());
    assert_eq!(link(1).unwrap(), "https://store/one.png");
    assert_eq!(link(2).unwrap(), "https://store/two.png");
    assert!(matches!(link(3), Err(Error::FrameOutOfRange { frame: 3, count: 3, .. })));
}

#[test]
fn the_images_of_a_group_are_found_in_storage_page_by_page() {
    let stub = Stub::start(|request| match (request.what().as_str(), request.target.as_str()) {
        ("open", _) => ok(json!([group_row(["", "", ""])])),
        ("media", _) => code(404, "RESOURCE_NOT_FOUND_ERROR"),
        ("storage", target) if target.contains("/child-items") && !target.contains("pageToken") => {
            plain(json!({"results": [{"signedUrl": "https://store/a"}, {"signedUrl": "https://store/b"}], "nextPageToken": "p=2"}))
        }
        ("storage", target) if target.ends_with("pageToken=p%3D2") => plain(json!({"results": [{"signedUrl": "https://store/c"}]})),
        ("storage", _) => plain(json!({"uuid": "1", "parent": "22222222-2222-3333-4444-555555555555", "signedUrl": null})),
        _ => usual(request),
    });
    let encord = stub.encord();
    let found = encord.find_row(&project(), &data(), &soon()).unwrap();
    let opened = encord.open_row(&project(), &found, &soon()).unwrap();
    assert_eq!(encord.link(&project(), &opened, 2, &soon()).unwrap().url.identity(), "https://store/c");
}

#[test]
fn the_sign_in_check_tells_a_refused_key_from_an_accepted_one() {
    let stub = Stub::start(|request| if request.what() == "user" { plain(json!({"token": "t"})) } else { usual(request) });
    assert_eq!(stub.encord().check(None, &soon()).unwrap(), "the key is accepted");
    assert_eq!(stub.encord().check(Some(&project()), &soon()).unwrap(), "the key opens project \"Roads\"");
    let stub = Stub::start(|_| status(401, "{}"));
    let error = stub.encord().check(None, &soon()).unwrap_err().to_string();
    assert!(error.contains("13b3ef5715c0") && error.contains("127.0.0.1"), "{error}");
    let stub = Stub::start(|_| status(404, "{}"));
    assert!(matches!(stub.encord().project(&project(), &soon()), Err(Error::Forbidden { .. })));
}

/// A TLS server on loopback whose certificate, valid in 2001 only, is its own trust anchor.
fn server_of_long_ago(folder: &std::path::Path) -> (String, std::path::PathBuf) {
    let mut parameters = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    (parameters.not_before, parameters.not_after) = (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2001, 12, 31));
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let ca_file = folder.join("ca.pem");
    std::fs::write(&ca_file, certificate.pem()).unwrap();
    let private = rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(std::sync::Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let config = std::sync::Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let domain = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let _ = connection.complete_io(&mut stream);
        }
    });
    (domain, ca_file)
}

#[test]
fn a_certificate_out_of_date_names_the_clock() {
    let folder = tempfile::tempdir().unwrap();
    let (domain, ca_file) = server_of_long_ago(folder.path());
    let settings = super::Settings {
        domain,
        ssh_key: crate::ids::Secret::new(super::stub::KEY),
        ssh_key_origin: "test".into(),
        ssh_key_password: None,
        ca_file: Some(ca_file),
        ontology_ttl: Duration::ZERO,
        timeout: Duration::from_secs(15),
    };
    let error = super::Encord::new(settings).unwrap().project(&project(), &soon()).unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    let told = error.to_string();
    assert!(told.contains("certificate expired ") && told.contains("days ago by the clock of this box"), "{told}");
}
