//! An emulated Encord backend: signatures, projects, ontologies, label rows and signed media links, as the public
//! SDK knows them. It keeps its state in memory, records every call, and goes wrong on demand.

mod auth;
mod check;
mod rows;
mod storage;
mod store;
mod uploads;
mod v1;
mod v2;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;

pub use store::*;

use super::faults::{Fault, Plan};
use super::server::{Gate, Handler, Reply, Request, Server, http_date};

/// What a call is for, as far as counting and faults are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    Project,
    Ontology,
    StorageItem,
    ListRows,
    CreateRow,
    GetRow,
    DataLinks,
    SaveRow,
    Media,
    /// A place for new bytes in a storage folder.
    UploadLink,
    /// The bytes themselves, at the media store.
    Upload,
    Register,
    UploadJob,
    LinkItem,
    Other,
}

/// One call as it was received and answered.
#[derive(Debug, Clone)]
pub struct Record {
    pub call: Call,
    pub request: Request,
    pub status: u16,
    /// The error code inside a v1 envelope, if there was one.
    pub code: Option<String>,
    /// Bytes of the body that went out.
    pub bytes: u64,
    pub finished: Instant,
}

/// How the backend behaves where the real one's behaviour is unknown or differs between accounts.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// `editorOntology` of a project holds the whole ontology; otherwise it is an empty object.
    pub editor_ontology: bool,
    /// A second *create* of a row gets `RESOURCE_EXISTS_ERROR`; otherwise it gets the row that is there.
    pub second_create_fails: bool,
    /// `get_signed_url` in *create* and *get* puts links into the data units; otherwise it does nothing.
    pub links_in_rows: bool,
    /// v1 errors have their status as HTTP status too; otherwise HTTP says 200.
    pub http_status_of_errors: bool,
    /// The media store answers `Range`; otherwise it always sends the whole file.
    pub ranges: bool,
    /// How often an upload job says that it is pending before it is done.
    pub pending_polls: usize,
    /// How long a media link works.
    pub link_life: Duration,
    /// How far the caller's clock may be off.
    pub signature_window: Duration,
    /// How far the backend's clock is ahead of this machine's, in seconds.
    pub clock_ahead: i64,
    /// Added to every answer of the API.
    pub latency: Duration,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            editor_ontology: true,
            second_create_fails: true,
            links_in_rows: true,
            http_status_of_errors: false,
            ranges: true,
            pending_polls: 1,
            link_life: Duration::from_secs(3600),
            signature_window: Duration::from_secs(300),
            clock_ahead: 0,
            latency: Duration::ZERO,
        }
    }
}

impl Behaviour {
    /// What the backend's clock says.
    fn now(&self) -> time::OffsetDateTime {
        time::OffsetDateTime::now_utc() + time::Duration::seconds(self.clock_ahead)
    }
}

/// Where to listen, and how.
#[derive(Default)]
pub struct Options {
    /// 0 for any free port.
    pub port: u16,
    pub media_port: u16,
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// The host under which media links name this machine, when the daemon runs on another one; plain HTTP only.
    pub media_host: Option<String>,
}

/// A running backend; it stops when the last clone is dropped.
#[derive(Clone)]
pub struct Backend {
    inner: Arc<Inner>,
    servers: Arc<[Server; 2]>,
}

struct Inner {
    store: Mutex<Store>,
    behaviour: Mutex<Behaviour>,
    faults: Plan<Call>,
    /// After the next answer to this kind of call its server refuses connections.
    refuse_after: Mutex<Option<Call>>,
    /// Of the API and of the media store.
    gates: OnceLock<[Arc<Gate>; 2]>,
    records: Mutex<Vec<Record>>,
    media_url: OnceLock<String>,
    link_key: [u8; 32],
}

impl Backend {
    pub fn start(options: Options) -> std::io::Result<Self> {
        let mut link_key = [0; 32];
        getrandom::fill(&mut link_key).unwrap();
        let inner = Arc::new(Inner {
            store: Mutex::default(),
            behaviour: Mutex::new(Behaviour::default()),
            faults: Plan::default(),
            refuse_after: Mutex::default(),
            gates: OnceLock::new(),
            records: Mutex::default(),
            media_url: OnceLock::new(),
            link_key,
        });
        let api = Server::start(options.port, options.tls.clone(), Arc::new(Api(inner.clone())))?;
        let media = Server::start(options.media_port, options.tls, Arc::new(MediaStore(inner.clone())))?;
        let media_url = options.media_host.map_or_else(|| media.url.clone(), |host| format!("http://{host}:{}", media.address.port()));
        let _ = inner.media_url.set(media_url);
        let _ = inner.gates.set([api.gate(), media.gate()]);
        Ok(Self { inner, servers: Arc::new([api, media]) })
    }

    /// What `encord.domain` is to be.
    pub fn url(&self) -> &str {
        &self.servers[0].url
    }

    pub fn media_url(&self) -> &str {
        &self.servers[1].url
    }

    pub fn store(&self) -> MutexGuard<'_, Store> {
        self.inner.store.lock().unwrap()
    }

    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.inner.behaviour.lock().unwrap());
    }

    /// The next `times` calls of this kind meet `fault`.
    pub fn fail(&self, call: Call, fault: Fault, times: usize) {
        self.inner.faults.add(call, fault, times);
    }

    /// The API refuses connections from now on.
    pub fn refuse(&self) {
        self.servers[0].gate().refuse();
    }

    /// The server of this kind of call refuses connections once the next of them is answered.
    pub fn refuse_after(&self, call: Call) {
        *self.inner.refuse_after.lock().unwrap() = Some(call);
    }

    /// The media store refuses connections from now on.
    pub fn refuse_media(&self) {
        self.servers[1].gate().refuse();
    }

    /// From now on all goes well.
    pub fn heal(&self) {
        self.inner.faults.clear();
        *self.inner.refuse_after.lock().unwrap() = None;
        for server in self.servers.iter() {
            server.gate().admit();
        }
    }

    /// Everything received so far, in the order in which it was answered; bytes are known once an answer is out.
    pub fn records(&self) -> Vec<Record> {
        self.inner.records.lock().unwrap().clone()
    }

    /// The kinds of the calls received so far.
    pub fn calls(&self) -> Vec<Call> {
        self.inner.records.lock().unwrap().iter().map(|record| record.call).collect()
    }

    /// How often a kind of call was received.
    pub fn count(&self, call: Call) -> usize {
        self.calls().iter().filter(|&&have| have == call).count()
    }

    pub fn forget_records(&self) {
        self.inner.records.lock().unwrap().clear();
    }

    /// The label row of a data item as it is stored, if it was ever opened.
    pub fn row(&self, data: &str) -> Option<Value> {
        self.store().row_of(data).cloned()
    }

    /// The entry of a data item in the list of label rows.
    pub fn listing(&self, data: &str) -> Value {
        let store = self.store();
        rows::listed(&store.items[data], store.row_of(data))
    }

    /// Changes a stored label row behind everybody's back, as an annotator's save does.
    pub fn edit_row(&self, data: &str, change: impl FnOnce(&mut Value)) {
        let mut store = self.store();
        let hash = store.open_row(data).expect("the data item exists");
        change(store.rows.get_mut(&hash).unwrap());
    }

    /// A signed link to a stored file, as a data link would be.
    pub fn link(&self, path: &str) -> String {
        self.inner.sign_link(path)
    }
}

impl Inner {
    /// Notes a call before its answer goes out, so that whoever got the answer finds the call noted.
    fn record(&self, call: Call, request: &Request, reply: &Reply) {
        let code = serde_json::from_slice::<Value>(&reply.body)
            .ok()
            .filter(|body| body["status"].as_u64().is_some_and(|status| status != 200))
            .and_then(|body| body["response"][0].as_str().map(str::to_owned));
        let record = Record { call, request: request.clone(), status: reply.status, code, bytes: 0, finished: Instant::now() };
        let mut records = self.records.lock().unwrap();
        // A backend that is left running must not grow without end.
        if records.len() >= 20_000 {
            records.drain(..10_000);
        }
        records.push(record);
    }

    /// Completes the note when the answer is out.
    fn complete(&self, request: &Request, bytes: u64) {
        let mut records = self.records.lock().unwrap();
        let same = |record: &&mut Record| record.request.connection == request.connection && record.request.at == request.at;
        if let Some(record) = records.iter_mut().rev().find(same) {
            record.bytes = bytes;
            record.finished = Instant::now();
        }
    }

    fn with_faults(&self, call: Call, proper: impl FnOnce() -> Reply) -> Reply {
        match self.faults.take(&call) {
            None => proper(),
            Some(fault) => fault.instead().unwrap_or_else(|| fault.after(proper())),
        }
    }

    fn refuse_if_planned(&self, call: Call) {
        let mut planned = self.refuse_after.lock().unwrap();
        if *planned == Some(call)
            && let Some(gates) = self.gates.get()
        {
            *planned = None;
            gates[usize::from(matches!(call, Call::Media | Call::Upload))].refuse();
        }
    }

    fn behaviour(&self) -> Behaviour {
        self.behaviour.lock().unwrap().clone()
    }
}

struct Api(Arc<Inner>);

impl Handler for Api {
    fn answer(&self, request: &Request) -> Reply {
        let call = kind_of(request);
        std::thread::sleep(self.0.behaviour().latency);
        let reply = self.0.with_faults(call, || match request.path.as_str() {
            "/public" | "/public/user" => v1::answer(&self.0, request),
            path if path.starts_with("/v2/public/") => v2::answer(&self.0, request),
            _ => Reply::json(404, &serde_json::json!({"detail": "Not Found"})),
        });
        self.0.record(call, request, &reply);
        self.0.refuse_if_planned(call);
        reply.header("date", http_date(self.0.behaviour().now()))
    }

    fn sent(&self, request: &Request, bytes: u64) {
        self.0.complete(request, bytes);
    }
}

struct MediaStore(Arc<Inner>);

impl Handler for MediaStore {
    fn answer(&self, request: &Request) -> Reply {
        let call = if request.method == "PUT" { Call::Upload } else { Call::Media };
        let reply = self.0.with_faults(call, || storage::answer(&self.0, request));
        self.0.record(call, request, &reply);
        self.0.refuse_if_planned(call);
        reply
    }

    fn sent(&self, request: &Request, bytes: u64) {
        self.0.complete(request, bytes);
    }
}

fn kind_of(request: &Request) -> Call {
    if request.path.starts_with("/v2/public/projects/") {
        return Call::Project;
    }
    if request.path.starts_with("/v2/public/ontologies/") {
        return Call::Ontology;
    }
    if request.path.starts_with("/v2/public/storage/") {
        return uploads::kind_of(request).unwrap_or(Call::StorageItem);
    }
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    match (body["query_type"].as_str(), body["query_method"].as_str()) {
        (Some("labelrowmetadata"), Some("GET")) => Call::ListRows,
        (Some("labelrow"), Some("PUT")) => Call::CreateRow,
        (Some("labelrow"), Some("GET")) => Call::GetRow,
        (Some("labelrow"), Some("POST")) => Call::SaveRow,
        (Some("datasetdata"), Some("GET")) => Call::DataLinks,
        (Some("datasetlinkitems"), Some("POST")) => Call::LinkItem,
        _ => Call::Other,
    }
}
