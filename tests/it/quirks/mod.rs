//! Every known quirk of model endpoints, met by the real daemon: an endpoint and an agent for each, and two clicks. What
//! comes of it is the table in docs/models.md, which this test compares; with EDGELABEL_WRITE_DOCS set it is written anew.

mod cases;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use self::cases::{Case, KEY, cases};
use crate::spine::{World, attribute};
use crate::support::daemon::{Answer, Daemon, write_private};
use crate::support::media::jpeg;
use crate::support::model::StandIn;

const TRUTH: [(&str, &str); 2] = [("Scene description", "A wet road."), ("Weather", "Cloudy")];
const BEGIN: &str = "<!-- written by tests/it/quirks -->\n";
const END: &str = "<!-- end -->\n";

/// An endpoint with its quirk, and the picture that is clicked for it.
struct Played {
    case: Case,
    model: StandIn,
    image: String,
}

impl Played {
    fn path(&self) -> String {
        format!("/{}", self.image)
    }

    /// One click: its answer and the requests that it cost.
    fn click(&self, world: &World, daemon: &Daemon) -> (Answer, usize) {
        let before = self.model.received();
        let answer = daemon.trigger(&self.path(), &world.fixture.project, &self.image, 0);
        (answer, self.model.received() - before)
    }
}

#[test]
fn every_known_quirk_ends_in_the_right_answer_or_in_an_honest_error() {
    let world = World::new();
    let played: Vec<Played> = cases().into_iter().map(|case| play(&world, case)).collect();
    let daemon = start(&world, &played);
    let lines = Mutex::new(vec![String::new(); played.len()]);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while let Some((place, one)) = Some(next.fetch_add(1, Ordering::SeqCst)).and_then(|place| Some((place, played.get(place)?)))
                {
                    let line = line_of(&world, &daemon, one);
                    lines.lock().unwrap()[place] = line;
                }
            });
        }
    });
    let mut table =
        "| what the endpoint does | status | requests | saved, or what the annotator reads |\n| --- | --- | --- | --- |\n".to_owned();
    table.extend(lines.into_inner().unwrap());
    compare_with_document(&table);
    println!("{} quirks", played.len());
}

fn play(world: &World, case: Case) -> Played {
    let model = StandIn::start(0, None).unwrap();
    TRUTH.iter().for_each(|(title, value)| model.fix(title, json!(value)));
    (case.play)(&model);
    let picture = jpeg(64, 48, [90, 90, 90]);
    let image = world.fixture.backend.store().add_image(&world.fixture.project, case.name, "image/jpeg", (64, 48), picture);
    Played { case, model, image }
}

fn start(world: &World, played: &[Played]) -> Daemon {
    let mut setup = world.setup().set("server", "max_concurrent_triggers", "32");
    write_private(&setup.folder().join("endpoint_key"), KEY);
    for one in played {
        let (name, address) = (&one.image, (one.case.address)(&one.model.url()));
        setup = setup.text(&format!("[models.{name}]\nbase_url = \"{address}\"\nname = \"stand-in\"\n{}\n", one.case.table));
        setup = setup.agent(&one.path(), "Scene description\", \"Weather", &format!("model = \"{name}\"\n{}", one.case.agent));
    }
    setup.start()
}

/// Clicks twice and tells what came of it, having made sure that nothing is saved but the truth, and never an error called
/// a success.
fn line_of(world: &World, daemon: &Daemon, one: &Played) -> String {
    let name = one.case.name;
    let (first, requests) = one.click(world, daemon);
    let (second, requests_again) = one.click(world, daemon);
    assert_eq!(one.model.malformed(), Vec::<String>::new(), "{name}");
    for answer in [&first, &second] {
        assert!(matches!(answer.status, 200 | 502 | 503), "{name}: {answer:?}");
    }
    let scene = world.answers(&one.image, "Cls+Scen").iter().map(|answer| attribute(answer, "AttScene")).collect::<Vec<_>>();
    let weather =
        world.answers(&one.image, "Cls/Weat").iter().map(|answer| attribute(answer, "AttWeath")[0]["name"].clone()).collect::<Vec<_>>();
    let saved = !(scene.is_empty() && weather.is_empty());
    assert_eq!(saved, first.status == 200 || second.status == 200, "{name}: {first:?} {second:?}");
    if saved {
        assert_eq!((scene, weather), (vec![json!(TRUTH[0].1)], vec![json!(TRUTH[1].1)]), "{name}");
    }
    let outcome = if first.status == 200 { "the answer".to_owned() } else { told(&first, one, daemon) };
    let status = if first.status == second.status { first.status.to_string() } else { format!("{}, then {}", first.status, second.status) };
    let requests = if requests == requests_again { requests.to_string() } else { format!("{requests}, then {requests_again}") };
    format!("| {name} | {status} | {requests} | {outcome} |\n")
}

/// The message without what differs from run to run: the request's id, the endpoint's port and name, the folder.
fn told(answer: &Answer, one: &Played, daemon: &Daemon) -> String {
    let message = answer.message().replace(&one.image, "NAME").replace(&format!("{}/", daemon.setup.folder().display()), "");
    let text = message.rsplit_once("request ").map_or(message.as_str(), |(text, _)| text).trim_end_matches([' ', '·']);
    let words = text.split(' ').map(|word| if word.starts_with("127.0.0.1:") { "HOST" } else { word });
    words.collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn compare_with_document(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/models.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = document.split_once(BEGIN).expect("docs/models.md has the place of the table");
    let (written, after) = rest.split_once(END).expect("docs/models.md has the end of the table");
    if std::env::var_os("EDGELABEL_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        return;
    }
    let (written, found): (Vec<&str>, Vec<&str>) = (written.lines().collect(), table.lines().collect());
    for (written, found) in written.iter().zip(&found) {
        assert_eq!(written, found, "docs/models.md says something else (EDGELABEL_WRITE_DOCS=1 writes the table anew)");
    }
    assert_eq!(written.len(), found.len(), "docs/models.md has another number of quirks (EDGELABEL_WRITE_DOCS=1 writes the table anew)");
}
