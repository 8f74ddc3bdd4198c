//! Which model is asked, how often, with which picture and which words, and what is counted: through the whole daemon.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::spine::World;
use crate::support::daemon::{Daemon, free_port};
use crate::support::faults::Fault;
use crate::support::model::StandIn;

const ALWAYS: usize = usize::MAX;

fn click(world: &World, daemon: &Daemon) -> u16 {
    daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0).status
}

fn metrics(daemon: &Daemon) -> String {
    daemon.client().get(daemon.admin_url("/metrics")).call().unwrap().body_mut().read_to_string().unwrap()
}

/// The value of a series, which must be there.
fn reading(daemon: &Daemon, series: &str) -> u64 {
    let page = metrics(daemon);
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')).unwrap_or_else(|| panic!("no {series}:\n{page}"));
    line.parse().unwrap()
}

/// The table of a second model.
fn local(model: &StandIn, more: &str) -> String {
    format!("[models.local]\nbase_url = \"{}\"\nname = \"little\"\n{more}\n", model.url())
}

#[test]
fn tokens_and_requests_are_counted_by_model() {
    let world = World::new();
    let second = StandIn::start(0, None).unwrap();
    let daemon = world
        .setup()
        .set("model", "daily_tokens", "100000")
        .text(&local(&second, ""))
        .agent("/", "Scene description", "")
        .agent("/little", "Scene description", "model = \"local\"")
        .start();
    world.model.fail(Fault::Status(503, "later".into()), 1);
    assert_eq!(click(&world, &daemon), 200);
    world.click(&daemon, "/little", &world.fixture.image, 0);
    world.click(&daemon, "/little", &world.fixture.image, 0);
    let (first, little) = ("table=\"model\",name=\"stand-in\"", "table=\"models.local\",name=\"little\"");
    assert_eq!(reading(&daemon, &format!("edgelabel_model_requests_total{{{first},status=\"200\"}}")), 1);
    assert_eq!(reading(&daemon, &format!("edgelabel_model_requests_total{{{first},status=\"503\"}}")), 1);
    assert_eq!(reading(&daemon, &format!("edgelabel_model_requests_total{{{little},status=\"200\"}}")), 2);
    let tokens = |labels: &str, direction: &str| {
        reading(&daemon, &format!("edgelabel_model_used_tokens_total{{{labels},direction=\"{direction}\"}}"))
    };
    assert!(tokens(first, "prompt") > 765 && tokens(little, "prompt") == 2 * tokens(first, "prompt"));
    assert_eq!(tokens(little, "completion"), 2 * tokens(first, "completion"));
    let today = reading(&daemon, &format!("edgelabel_model_tokens_today{{{first}}}"));
    assert_eq!(today, tokens(first, "prompt") + tokens(first, "completion"));
    assert_eq!(reading(&daemon, &format!("edgelabel_model_daily_tokens{{{first}}}")), 100_000);
    assert!(!metrics(&daemon).contains("edgelabel_model_daily_tokens{table=\"models.local\""), "it has no cap");
    assert_eq!(reading(&daemon, &format!("edgelabel_model_up{{{first}}}")), 1);
}

#[test]
fn a_daily_cap_holds_across_a_restart() {
    let world = World::new();
    let mut daemon = world.setup().set("model", "daily_tokens", "500").agent("/", "Scene description", "").start();
    assert_eq!(click(&world, &daemon), 200, "the first call is within the cap");
    let used = reading(&daemon, "edgelabel_model_tokens_today{table=\"model\",name=\"stand-in\"}");
    assert!(used > 500, "{used}");
    let refused = |daemon: &Daemon| {
        let answer = daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0);
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.message().contains("daily_tokens"), "{answer:?}");
        // Until midnight.
        let seconds: u64 = answer.headers["retry-after"].parse().unwrap();
        assert!((1..=86_400).contains(&seconds), "{seconds}");
    };
    refused(&daemon);
    daemon.signal(rustix::process::Signal::TERM);
    daemon.wait_exit(Duration::from_secs(20));
    daemon.restart();
    refused(&daemon);
    assert_eq!(world.model.received(), 1);
    assert_eq!(reading(&daemon, "edgelabel_model_tokens_today{table=\"model\",name=\"stand-in\"}"), used);
}

#[test]
fn a_project_that_a_model_may_not_see_goes_to_the_fallback_with_a_picture_of_its_size() {
    let world = World::new();
    let second = StandIn::start(0, None).unwrap();
    let daemon = world
        .setup()
        .set("model", "allowed_projects", "[\"00000000-0000-4000-8000-000000000000\"]")
        .set("model", "fallback", "[\"local\"]")
        .text(&local(&second, "max_image_side = 100"))
        .agent("/", "Scene description", "")
        .start();
    assert_eq!(click(&world, &daemon), 200);
    assert_eq!((world.model.received(), second.received()), (0, 1));
    let picture = &second.questions()[0].pictures[0];
    assert_eq!((picture.width, picture.height), (100, 56));
}

#[test]
fn a_project_that_no_model_may_see_is_refused_before_anything_is_fetched() {
    let world = World::new();
    let daemon = world
        .setup()
        .set("model", "allowed_projects", "[\"00000000-0000-4000-8000-000000000000\"]")
        .agent("/", "Scene description", "")
        .start();
    let answer = daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0);
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(answer.message().contains("allowed_projects of [model]"), "{answer:?}");
    assert_eq!(world.model.received(), 0);
}

#[test]
fn a_fallback_answers_for_a_model_that_fails_and_gets_a_picture_made_smaller_for_it() {
    let world = World::new();
    let second = StandIn::start(0, None).unwrap();
    let daemon = world
        .setup()
        .set("model", "fallback", "[\"local\"]")
        .set("model", "max_image_side", "300")
        .text(&local(&second, "max_image_side = 64"))
        .agent("/", "Scene description", "")
        .start();
    world.model.quirks(|quirks| quirks.api_key = Some("sk-another".into()));
    assert_eq!(click(&world, &daemon), 200);
    let picture = &second.questions()[0].pictures[0];
    assert_eq!((picture.width, picture.height, picture.mime.as_str()), (64, 36, "image/jpeg"));
    let colour = picture.mean.map(|mean| mean.round() as i32);
    assert!(colour.iter().zip([60, 120, 200]).all(|(found, wanted)| (found - wanted).abs() < 6), "{colour:?}");

    // What the first model refused on principle is not carried to another one.
    world.model.quirks(|quirks| quirks.api_key = None);
    world.model.script(crate::support::model::Turn::Refusal("No.".into()));
    assert_eq!(click(&world, &daemon), 502);
    assert_eq!(second.received(), 1);
}

#[test]
fn pictures_are_made_for_the_model_and_never_enlarged() {
    let world = World::new();
    let setup = |side: &str, quality: &str| world.setup().set("model", "max_image_side", side).set("model", "jpeg_quality", quality);
    let mut sizes = Vec::new();
    for (side, quality, expected) in
        [("0", "0", (640, 360)), ("200", "0", (200, 113)), ("200", "10", (200, 113)), ("4000", "0", (640, 360))]
    {
        let daemon = setup(side, quality).set("model", "detail", "\"high\"").agent("/", "Scene description", "").start();
        assert_eq!(click(&world, &daemon), 200);
        let asked = world.model.questions().pop().unwrap();
        assert_eq!((asked.pictures[0].width, asked.pictures[0].height), expected, "{side}");
        assert_eq!(asked.body["messages"][1]["content"][1]["image_url"]["detail"], "high");
        sizes.push(asked.pictures[0].bytes);
    }
    assert!(sizes[2] < sizes[1], "{sizes:?}");
}

#[test]
fn one_call_at_a_time_goes_to_a_model_on_this_box_unless_more_are_allowed() {
    for (allowed, expected) in [(None, 1..=1), (Some("4"), 2..=4)] {
        let world = World::new();
        let setup = world.setup().set("server", "max_concurrent_triggers", "8").agent("/", "Scene description", "");
        let daemon = match allowed {
            None => setup.start(),
            Some(most) => setup.set("model", "max_concurrent", most).start(),
        };
        world.model.quirks(|quirks| quirks.thinking_time = Duration::from_millis(300));
        std::thread::scope(|scope| {
            for frame in 0..6 {
                let (world, daemon) = (&world, &daemon);
                scope.spawn(move || world.click(daemon, "/", &world.fixture.video, frame));
            }
        });
        let most = world.model.most_at_once();
        assert!(expected.contains(&most), "{most} at once, {expected:?} expected");
    }
}

#[test]
fn a_model_that_is_back_is_noticed_without_a_click() {
    let world = World::new();
    let port = free_port();
    let daemon =
        world.setup().set("model", "base_url", format!("\"http://127.0.0.1:{port}/v1\"")).agent("/", "Scene description", "").start();
    let up = "edgelabel_model_up{table=\"model\",name=\"stand-in\"}";
    assert_eq!(click(&world, &daemon), 502);
    assert_eq!(reading(&daemon, up), 0);
    let begun = Instant::now();
    assert_eq!(click(&world, &daemon), 502);
    assert!(begun.elapsed() < Duration::from_secs(2), "it fails at once while it is down");
    let model = StandIn::start(port, None).unwrap();
    let begun = Instant::now();
    while model.looks() == 0 || reading(&daemon, up) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "nobody looked:\n{}", daemon.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!((model.looks(), model.received()), (1, 0), "one look is enough, and it costs no tokens");
    assert_eq!(click(&world, &daemon), 200);
}

#[test]
fn a_prompt_of_ones_own_is_filled_in() {
    let world = World::new();
    let template = "template = \"Say what {classification} is in {data} of {project}, picture {frame}, in {language}. {unknown}\"\nlanguage = \"German\"";
    let daemon = world.setup().agent("/", "Scene description\", \"Weather", template).start();
    world.click(&daemon, "/", &world.fixture.video, 17);
    let body = world.model.questions()[0].body.clone();
    let said = body["messages"][0]["content"].as_str().unwrap();
    assert!(
        said.starts_with("Say what Scene description, Weather is in drive.mp4 of Road scenes, picture 17, in German. {unknown}"),
        "{said}"
    );
}

#[test]
fn neither_hashes_nor_links_nor_the_key_of_encord_leave_for_the_model() {
    let world = World::new();
    let daemon = world.setup().agent("/", "*", "").start();
    for (data, frame) in [(&world.fixture.video, 3), (&world.fixture.group, 1), (&world.fixture.image, 0)] {
        world.click(&daemon, "/", data, frame);
        let asked = world.model.questions().pop().unwrap();
        let sent = format!("{} {:?} {}", String::from_utf8_lossy(&asked.request.body), asked.request.headers, asked.request.target);
        let row = world.fixture.backend.row(data).unwrap();
        let ontology = world.fixture.backend.store().ontology_of(&world.fixture.project).unwrap().to_string();
        let mut kept = vec![data.clone(), world.fixture.project.clone(), row["label_hash"].as_str().unwrap().to_owned()];
        kept.extend(row["dataset_hash"].as_str().map(str::to_owned));
        kept.push(world.fixture.backend.media_url().to_owned());
        kept.push("sig=".into());
        kept.extend(ontology.split("\"featureNodeHash\":\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
        assert!(kept.len() > 40);
        let leaked: Vec<&String> = kept.iter().filter(|one| sent.contains(one.as_str())).collect();
        assert!(leaked.is_empty(), "{leaked:?}");
    }
}

#[test]
fn what_stays_unanswered_is_told_and_logged() {
    let world = World::new();
    let daemon = world.setup().agent("/", "Weather\", \"Road users\", \"Time of day", "reply = \"summary\"").start();
    world.model.fix("Time of day", json!("Dusk"));
    let answer = daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0);
    assert_eq!(answer.status, 200);
    let message = answer.message();
    assert!(
        message.contains("saved for frame 0: Time of day: Dusk; left unanswered: Weather, Road users, Time of day > Street lights"),
        "{message}"
    );
    assert!(daemon.log().contains(r#"left_out=["Weather", "Road users", "Time of day > Street lights"]"#), "{}", daemon.log());
    assert_eq!(world.answers(&world.fixture.image, "Cls/Weat").len(), 0);

    world.model.unfix();
    world.model.fail(Fault::Body(json!({"choices": [{"message": {"content": r#"{"weather": null, "road_users": null, "time_of_day": null}"#}, "finish_reason": "stop"}]}).to_string()), ALWAYS);
    let answer = daemon.trigger("/", &world.fixture.project, &world.fixture.image, 0);
    assert_eq!(answer.status, 422, "{answer:?}");
    assert!(answer.message().contains("left everything unanswered"), "{answer:?}");
}
